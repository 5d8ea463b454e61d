"""Ways in which a source file changes while it is read; each tells beforehand which contents it will have."""

import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""


@dataclass(frozen=True)
class Change:
    """What is done to a file; ``states`` are all contents it has in turn from then on, the last one stays."""

    name: str
    states: list[bytes]
    act: Callable[[Path], object]


def appended(old: bytes, chance: Random) -> Change:
    tail = chance.randbytes(chance.randrange(1, 100_000))

    def act(path: Path) -> None:
        with path.open("ab", buffering=0) as file:
            file.write(tail)

    return Change("append", [old + tail], act)


def truncated(old: bytes, chance: Random) -> Change:
    left = chance.randrange(len(old))
    return Change("truncate", [old[:left]], lambda path: os.truncate(path, left))


def grown_back(old: bytes, chance: Random) -> Change:
    """Truncate and grow to the old size, with the old times."""
    left = chance.randrange(len(old))

    def act(path: Path) -> None:
        with times_kept(path):
            os.truncate(path, left)
            os.truncate(path, len(old))

    return Change("truncate and grow back", [old[:left], old[:left] + bytes(len(old) - left)], act)


def overwritten(old: bytes, chance: Random) -> Change:
    """Write over all of it at once, with the old size and times."""
    new = chance.randbytes(len(old))
    return Change("overwrite, times restored", [new], lambda path: write_at(path, new, 0))


def patched(old: bytes, chance: Random) -> Change:
    """Write over some bytes anywhere, with the old size and times."""
    at = chance.randrange(len(old) - 100)
    new = chance.randbytes(100)
    return Change("patch, times restored", [old[:at] + new + old[at + 100 :]], lambda path: write_at(path, new, at))


def replaced(old: bytes, chance: Random) -> Change:
    """Rename another file of the same size and times over it."""
    new = chance.randbytes(len(old))

    def act(path: Path) -> None:
        aside = aside_of(path)
        aside.write_bytes(new)
        seen = path.stat()
        os.utime(aside, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        os.replace(aside, path)

    return Change("replace by rename, times restored", [new], act)


def exchanged(old: bytes, chance: Random) -> Change:
    """Exchange it with another file in one step."""
    new = chance.randbytes(chance.randrange(len(old)))

    def act(path: Path) -> None:
        aside = aside_of(path)
        aside.write_bytes(new)
        call = ctypes.CDLL(None, use_errno=True).renameat2
        if call(-100, os.fsencode(aside), -100, os.fsencode(path), EXCHANGE) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    return Change("exchange", [new], act)


def rewritten(old: bytes, chance: Random) -> Change:
    """Open it anew and write it in two steps, as an editor does."""
    new = chance.randbytes(len(old))
    half = len(new) // 2

    def act(path: Path) -> None:
        with path.open("wb", buffering=0) as file:
            file.write(new[:half])
            file.write(new[half:])

    return Change("write anew", [b"", new[:half], new], act)


def made_anew(old: bytes, chance: Random) -> Change:
    """Remove it and make another of the same name."""
    new = chance.randbytes(len(old))

    def act(path: Path) -> None:
        path.unlink()
        path.write_bytes(new)

    return Change("remove and make anew", [b"", new], act)


def punched(old: bytes, chance: Random) -> Change:
    """Cut a hole into it, with the old times."""
    at = chance.randrange(len(old) - 4096)

    def act(path: Path) -> None:
        with times_kept(path), path.open("r+b") as file:
            call = ctypes.CDLL(None, use_errno=True).fallocate
            if call(file.fileno(), 3, ctypes.c_long(at), ctypes.c_long(4096)) != 0:
                raise OSError(ctypes.get_errno(), "fallocate")

    return Change("hole, times restored", [old[:at] + bytes(4096) + old[at + 4096 :]], act)


def mapped(old: bytes, chance: Random) -> Change:
    """Change it through a mapping that is made now, with the old times."""
    new = chance.randbytes(len(old))

    def act(path: Path) -> None:
        with times_kept(path), path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            view[:] = new

    return Change("through a new mapping, times restored", [new], act)


CHANGES: list[Callable[[bytes, Random], Change]] = [
    appended,
    truncated,
    grown_back,
    overwritten,
    patched,
    replaced,
    exchanged,
    rewritten,
    made_anew,
    punched,
    mapped,
]


class Mapping:
    """Changes a file all the time through a mapping that was there before: its times stay as they are."""

    def __init__(self, path: Path, states: list[bytes]) -> None:
        self.states = states
        self.writes = 0
        with path.open("r+b") as file:
            self._view = mmap.mmap(file.fileno(), 0)
        self._view[:] = states[0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while not self._ended.wait(0.005):
            self.writes += 1
            self._view[:] = self.states[self.writes % len(self.states)]

    def end(self) -> None:
        """Leave the last state in it."""
        self._ended.set()
        self._thread.join()
        self._view[:] = self.states[-1]
        self._view.close()


@contextmanager
def times_kept(path: Path) -> Iterator[None]:
    """Give a file the times back that it had before."""
    seen = path.stat()
    yield
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def write_at(path: Path, data: bytes, at: int) -> None:
    """Write in one call, then give the times back."""
    with times_kept(path), path.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), data, at)


def aside_of(path: Path) -> Path:
    """Return a name on the same disk where nobody looks."""
    return path.parent.parent / f"{path.parent.name}.aside" / f"{path.name}.aside"
