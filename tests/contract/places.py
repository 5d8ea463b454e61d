"""The places that the contract suite runs against; one entry of ``PLACES`` more is one more implementation tested."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from dray.client.api import Api, Server
from dray.client.http import Http, HttpSettings
from dray.clock import SystemClock
from dray.fs import DISK, Disk
from dray.model.values import Level, Limits
from dray.transports.base import Session
from dray.transports.dray import DraySettings, DrayTransport
from dray.transports.memory import Memory
from dray.transports.posix import Posix
from dray.transports.sftp.session import Sftp
from tests.servers.ceph import Ceph
from tests.servers.dray import DrayServer
from tests.servers.sshd import Sshd

LIMITS = Limits(piece=64 << 10, in_flight=2)


class Place(Protocol):
    """A place under test, seen from outside: what its readers see, and what happens when its process dies.

    ``judges``: somebody else decides and publishes at ``verify``, which then has a failure where bytes are not as
    claimed, or where the name cannot be had. ``tick_ns`` is what times of files are counted in.
    """

    removes_published: bool
    lends: bool
    judges: bool
    tick_ns: int
    level: Level

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
    judges = False
    tick_ns = 1
    level: Level = "durable"

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
    judges = False
    tick_ns = 1
    level: Level = "durable"

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


class DrayPlace:
    """A dataset of a real server in a process of its own; a session is a client, and only clients die here."""

    removes_published = False
    lends = False
    judges = True
    tick_ns = 1
    level: Level = "durable"

    def __init__(self, server: DrayServer, dataset: str) -> None:
        self._server = server
        self._dataset = dataset

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        url = self._server.url
        async with Http(HttpSettings()) as http:
            api = Api(
                http,
                Server(url=url, api=f"{url}/api/v1", prefix=0, version="", part_size=LIMITS.piece),
                self._server.token,
            )
            transport = DrayTransport(api, DraySettings(self._dataset), SystemClock())
            async with transport.connect() as session:
                yield session

    def crash(self) -> None:
        """Nothing to do: what the client sent is at the server. Kills of the server have tests of their own."""

    def contents(self) -> dict[str, bytes]:
        root = self._server.data / "store" / self._dataset
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def leftovers(self) -> list[str]:
        return [path.name for path in self._server.data.glob("*/.dray/staging/*/*")]


class SftpPlace:
    """A directory behind a real sshd; a session is a process of ssh, and only those die here."""

    removes_published = True
    lends = False
    judges = False
    tick_ns = 1_000_000_000
    level: Level = "durable"

    def __init__(self, server: Sshd, root: Path) -> None:
        self.root = root
        self.connect = Sftp(server.settings(root, limits=LIMITS)).connect

    def crash(self) -> None:
        """Nothing to do: what the client sent is at the server. Connections that break have tests of their own."""

    contents = PosixPlace.contents

    def leftovers(self) -> list[str]:
        return [path.name for path in self.root.glob(".dray/staging/*/*")]


class S3Place:
    """A prefix of a bucket of a real Ceph; a session is a client, and only clients die here."""

    removes_published = True
    lends = False
    judges = False
    tick_ns = 1
    level: Level = "service"

    def __init__(self, server: Ceph, prefix: str) -> None:
        self._prefix = f"{prefix}/"
        self._reader = server.reader()
        self.connect = server.transport(prefix, LIMITS).connect

    def crash(self) -> None:
        """Nothing to do: what the client sent is at the server. Kills of the gateway have tests of their own."""

    def contents(self) -> dict[str, bytes]:
        found = self._reader.contents(self._prefix)
        return {path: data for path, data in found.items() if not path.startswith(".dray/")}

    def leftovers(self) -> list[str]:
        staging = f"{self._prefix}.dray/staging/"
        return [*self._reader.contents(staging), *self._reader.uploads(staging)]


SERVERS: dict[str, DrayServer] = {}
CEPHS: dict[str, Ceph] = {}
SSHDS: dict[str, Sshd] = {}
_NUMBERS = itertools.count(1)


@contextmanager
def dray(base: Path) -> Iterator[Place]:
    """A dataset of its own on the one server of the run."""
    yield DrayPlace(SERVERS["dray"], f"place-{next(_NUMBERS)}")


PLACES["dray"] = dray


@contextmanager
def sftp(base: Path) -> Iterator[Place]:
    """An account with a shell."""
    yield SftpPlace(SSHDS["sftp"], base / "place")


@contextmanager
def sftp_only(base: Path) -> Iterator[Place]:
    """An account that is forced to SFTP."""
    yield SftpPlace(SSHDS["sftp-only"], base / "place")


PLACES |= {"sftp": sftp, "sftp-only": sftp_only}


@contextmanager
def s3(base: Path) -> Iterator[Place]:
    """A prefix of its own in the one bucket of the run."""
    yield S3Place(CEPHS["s3"], f"place-{next(_NUMBERS)}")


PLACES["s3"] = s3
