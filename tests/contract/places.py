"""The places that the contract suite runs against; one entry of ``PLACES`` more is one more implementation tested."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from dray.fs import DISK, Disk
from dray.model.values import Limits
from dray.transports.base import Session
from dray.transports.memory import Memory
from dray.transports.posix import Posix

LIMITS = Limits(piece=64 << 10, in_flight=2)


class Place(Protocol):
    """A place under test, seen from outside: what its readers see, and what happens when its process dies."""

    removes_published: bool
    lends: bool

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open a session, as a new process would."""

    def crash(self) -> None:
        """Lose what a killed process or a power cut may lose."""

    def contents(self) -> dict[str, bytes]:
        """Return all files under their final names, found by a reader that shares no code with the product."""

    def leftovers(self) -> list[str]:
        """Return what is staged."""


class MemoryPlace:
    removes_published = True
    lends = False

    def __init__(self) -> None:
        self.place = Memory(LIMITS)
        self.connect = self.place.connect
        self.crash = self.place.crash

    def contents(self) -> dict[str, bytes]:
        return {path: kept.data for path, kept in self.place.files.items()}

    def leftovers(self) -> list[str]:
        return list(self.place.staged)


class PosixPlace:
    removes_published = True
    lends = True

    def __init__(self, root: Path, disk: Disk = DISK) -> None:
        self.root = root
        self.connect = Posix(root, limits=LIMITS, disk=disk).connect

    def crash(self) -> None:
        """Nothing to do: sessions that were dropped wrote what they wrote. Power cuts have tests of their own."""

    def contents(self) -> dict[str, bytes]:
        files = (
            path for path in self.root.rglob("*") if path.is_file() and path.relative_to(self.root).parts[0] != ".dray"
        )
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def leftovers(self) -> list[str]:
        return [path.name for path in self.root.glob(".dray/staging/*/*")]


@contextmanager
def memory(base: Path) -> Iterator[Place]:
    yield MemoryPlace()


@contextmanager
def posix(base: Path) -> Iterator[Place]:
    yield PosixPlace(base / "place")


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {"memory": memory, "posix": posix}
