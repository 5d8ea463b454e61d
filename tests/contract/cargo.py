"""Files to move, made of a seed, and the steps of a move one by one."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from crc32c import crc32c

from dray.errors import DrayError
from dray.fs import FileRange
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.parts import parts
from dray.model.values import Claim, Entry, Landing, OnExists, Proof, Ref, Staged
from dray.moving.source import Item, version_of
from dray.transports.base import Piece, Session

T = TypeVar("T")


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())


def good(answers: Sequence[T | DrayError]) -> list[T]:
    """Return the answers, of which none may be a failure."""
    for answer in answers:
        if isinstance(answer, DrayError):
            raise answer
    return list(answers)


class Cargo:
    """One file's bytes, lying in a local file to be sent from, and all there is to say about it."""

    def __init__(
        self, base: Path, path: str, data: bytes, *, version: str | None = None, on_exists: OnExists = "version"
    ) -> None:
        base.mkdir(exist_ok=True)
        self.path = RemotePath(path)
        self.data = data
        self.version = version or hashlib.md5(data).hexdigest()
        self.on_exists = on_exists
        self._file = (base / hashlib.md5(path.encode() + data).hexdigest()).open("w+b", buffering=0)
        self._file.write(data)

    def __enter__(self) -> "Cargo":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def landing(self, *, known: bool = True) -> Landing:
        checksum = sha256(self.data) if known else None
        return Landing(
            self.path, len(self.data), self.version, self.on_exists, checksum, "test", 1_700_000_000_123_456_789
        )

    def piece(self, staged: Staged, number: int = 1) -> Piece:
        part = parts(staged.size, staged.part_size)[number - 1]
        crc = crc32c(self.data[part.offset : part.offset + part.length])
        return Piece(staged.ref, number, part.offset, FileRange(self._file.fileno(), part.offset, part.length), crc)

    def pieces(self, staged: Staged) -> list[Piece]:
        held = {one.number for one in staged.held}
        return [self.piece(staged, p.number) for p in parts(staged.size, staged.part_size) if p.number not in held]

    def claim(self, ref: Ref) -> Claim:
        return Claim(ref, len(self.data), sha256(self.data))

    async def stage(self, session: Session) -> Staged:
        return good(await session.stage([self.landing()]))[0]

    async def write(self, session: Session, staged: Staged) -> None:
        for piece in self.pieces(staged):
            good(await session.write([piece]))

    async def verify(self, session: Session, staged: Staged) -> Proof:
        return good(await session.verify([self.claim(staged.ref)]))[0]

    async def arrive(self, session: Session) -> Entry:
        """Walk the whole way."""
        staged = await self.stage(session)
        await self.write(session, staged)
        await self.verify(session, staged)
        return good(await session.publish([staged.ref]))[0]


async def entries(session: Session, prefix: str = "") -> list[Entry]:
    return [entry async for entry in session.list(prefix)]


async def read_back(session: Session, entry: Entry, base: Path) -> bytes:
    """Return what a reader of the place gets."""
    with (base / "read-back").open("w+b", buffering=0) as file:
        at = FileRange(file.fileno(), 0, entry.size)
        good(await session.read([Piece(entry.ref, 1, 0, at)]))
        file.seek(0)
        return file.read()


def local_item(root: Path, path: str, **more: object) -> Item:
    """Return the item for a file below ``root``, looked at now."""
    seen = (root / path).stat()
    return Item(RemotePath(path), seen.st_size, version_of(seen).token(), path, mtime_ns=seen.st_mtime_ns, **more)
