"""A directory of this machine as a place for bytes: readable paths, staged files and older versions under ``.dray``.

What each call promises about power cuts is in docs/architecture.md, "Durability of a posix place". ``staging`` and
``published`` do the work on disk; this module gives it threads and the shape of the seam.

How a repeated call knows that a version is final already, without a record that could disagree with the disk: by its
content. A file of the claimed digest under the final name, or among the older versions of the path, *is* this version.
"""

import copy
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
from crc32c import crc32c

from dray import fs
from dray.errors import Conflict, DrayError, PieceDamaged, Refused, SourceChanged
from dray.model.checksum import Checksum
from dray.model.names import RESERVED
from dray.model.parts import Part, plan_batches
from dray.model.values import Change, Claim, Entry, Landing, Limits, Proof, Receipt, Ref, Staged
from dray.threads import in_thread
from dray.transports.base import Failure, Piece
from dray.transports.guard import Guard
from dray.transports.names import PosixNames
from dray.transports.published import Published, each
from dray.transports.refs import Target, published_of, ref_of, target_of
from dray.transports.staging import Staging
from dray.transports.together import in_path_order, together
from dray.transports.verifier import Verifier, sha256

T = TypeVar("T")
R = TypeVar("R")

Answers: TypeAlias = list[R | DrayError]

GROUP = Limits(piece=4 << 20)
"""Up to so many bytes of small items are one thread's work."""


class Posix:
    """A directory as a place; ``connect`` makes it (durably) where it is missing.

    ``staging`` must be on the same file system (default: ``.dray/staging`` below). ``name`` signs the proofs. Where a
    catalogue already knows what is final, ``compare_final=False`` keeps ``stage`` from reading it, and ``verify`` from
    taking an older content for one that arrives.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        staging: str | Path | None = None,
        name: str = "posix",
        limits: Limits | None = None,
        disk: fs.Disk = fs.DISK,
        compare_final: bool = True,
    ) -> None:
        self.root = Path(root)
        self.staging = Path(staging) if staging else self.root / RESERVED / "staging"
        self.name = name
        self.limits = limits or Limits()
        self.disk = disk
        self.compare_final = compare_final
        self.guard = Guard()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["PosixSession"]:
        """Open a session; several at once, in any processes, do not disturb each other."""
        pool = ThreadPoolExecutor(self.limits.in_flight + 2, thread_name_prefix="disk")
        session = await in_thread(pool, translated, PosixSession, self, pool)
        try:
            yield session
        finally:
            await in_thread(None, session.close)


class PosixSession:
    """See ``Session``. Besides, it lends staged bytes to whoever receives them (``staging``) and opens final files."""

    def __init__(self, place: Posix, pool: ThreadPoolExecutor) -> None:
        self.limits = place.limits
        self.name = place.name
        self.compare_final = place.compare_final
        self.root = fs.made_root(place.root, place.disk)
        self.staging = Staging(fs.made_root(place.staging, place.disk), place.limits, place.guard)
        self.staging.tidy()
        self.published = Published(self.root, self.staging)
        self.verifier = Verifier(self.staging, self.published, place.name, older=place.compare_final)
        self._pool = pool

    def comparing(self) -> "PosixSession":
        """Return this session for whoever finishes what a crash interrupted: its ``stage`` looks at what is final."""
        other = copy.copy(self)
        other.compare_final = True
        return other

    def close(self) -> None:
        """Wait for what runs and close the folders; what is staged stays."""
        self._pool.shutdown()
        self.verifier.ahead.close()
        self.staging.close()
        self.root.top.close()

    async def _run(self, work: Callable[..., R], *arguments: object) -> R:
        return await in_thread(self._pool, translated, work, *arguments)

    async def _grouped(
        self, items: Sequence[T], size: Callable[[T], int], work: Callable[[Sequence[T]], Answers[R]]
    ) -> Answers[R]:
        """Do the work for small items together in one thread, for each large one in a thread of its own."""
        groups = list(plan_batches(range(len(items)), lambda index: size(items[index]), GROUP))
        running = (self._run(work, [items[index] for index in group]) for group in groups)
        done: dict[int, R | DrayError] = {}
        for group, answers in zip(groups, await together(running), strict=True):
            done.update(zip(group, answers, strict=True))
        return [done[index] for index in range(len(items))]

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield what is below a folder (``prefix``), in path order; links and Dray's own files are no entries."""
        async for entry in in_path_order(lambda folder: self._run(self.published.scan, folder), prefix):
            yield entry

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Begin or resume; the ref holds all of the landing, so that it is good in any other session."""
        return await self._run(self._stage, landings)

    def _stage(self, landings: Sequence[Landing]) -> Answers[Staged]:
        with fs.Folders(self.root) as folders:
            return each(landings, lambda landing: self._stage_one(folders, landing))

    def _stage_one(self, folders: fs.Folders, landing: Landing) -> Staged:
        target = target_of(ref_of(landing))
        staged = Staged(target.ref, target.path, target.size, self.limits.piece)
        final = self.published.look(folders, target.path) if self.compare_final else None
        if final is not None and final.st_size == target.size:
            if landing.checksum is None:
                return msgspec.structs.replace(staged, hash_first=True)
            if self._holds(target, landing.checksum):
                # A crash after publishing leaves a side file, another process's copy of the same a staged one.
                self.staging.discard(target)
                return msgspec.structs.replace(staged, done=True)
        if final is not None and landing.on_exists == "fail":
            raise Conflict("there is another file with this name", hint="nothing was changed")
        if self.staging.is_whole(target):
            return staged
        part_size, held = self.staging.stage(target)
        return Staged(target.ref, target.path, target.size, part_size, held, local=self.staging.local(target))

    def _holds(self, target: Target, checksum: Checksum) -> bool:
        fd = self.published.open(target.path)
        try:
            return sha256(fd, memoryview(bytearray(fs.BUFFER))) == (target.size, checksum)
        finally:
            os.close(fd)

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Write pieces; those that lie in the staged file already (``Staged.local``) are only made durable."""
        return await self._grouped(pieces, lambda piece: piece.at.length, self._write)

    def _write(self, pieces: Sequence[Piece]) -> Answers[Receipt]:
        window = Window()
        return each(pieces, lambda piece: self._write_one(window, piece))

    def _write_one(self, window: "Window", piece: Piece) -> Receipt:
        if self.staging.is_in_place(piece):
            return self.staging.receipt_in_place(piece)
        with self.staging.lend(piece.ref, Part(piece.number, piece.offset, piece.at.length)) as lent:
            if lent.held is None:
                for view in window.views(piece.at):
                    lent.take(view)
            return lent.receipt(piece.crc32c)

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Copy ranges of published files; a ref with a tag finds this content even when newer has the name."""
        return await self._grouped(pieces, lambda piece: piece.at.length, self._read)

    def _read(self, pieces: Sequence[Piece]) -> Answers[Receipt]:
        buffer = memoryview(bytearray(fs.BUFFER))
        return each(pieces, lambda piece: self._read_one(buffer, piece))

    def _read_one(self, buffer: memoryview, piece: Piece) -> Receipt:
        fd, crc, to = self.open_published(piece.ref), 0, piece.at.offset
        try:
            for view in fs.pieces_of(fs.FileRange(fd, piece.offset, piece.at.length), buffer):
                self.root.disk.pwrite(piece.at.file, view, to)
                crc, to = crc32c(view, crc), to + len(view)
        finally:
            os.close(fd)
        if piece.crc32c not in (None, crc):
            raise PieceDamaged("the bytes are not what they were said to be")
        return Receipt(piece.ref, piece.number, piece.at.length, crc, "flushed")

    def open_published(self, ref: Ref) -> int:
        """Open what ``published(path, tag)`` names: the final file or an older version. Blocks."""
        found = published_of(ref)
        if found is None:
            raise Refused("not a ref of a published file")
        return self.published.open(*found)

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Make durable together, then read again from the disk where the platform can drop what it has cached."""
        return await self._grouped(claims, lambda claim: claim.size, self.verifier.verify)

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Rename into place; what the name held is kept below ``.dray/versions`` unless the landing said otherwise."""
        return await self._run(self.published.publish, [target_of(ref) for ref in staged])

    def where(self, ref: Ref) -> str:
        """Return the full path of a staged file."""
        return self.staging.local(target_of(ref))

    async def change(self, changes: Sequence[Change]) -> Sequence[Failure | None]:
        """Change names, see ``Names``."""
        return await self._run(each, changes, PosixNames(self.root).change)

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Remove what is staged, or what is published, whichever the ref names."""
        return await self._run(each, refs, self._remove)

    def _remove(self, ref: Ref) -> None:
        found = published_of(ref)
        if found is None:
            self.staging.discard(target_of(ref))
        else:
            self.published.remove(*found)


class Window:
    """Looks at many small ranges of one file through one read of it."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(fs.BUFFER))
        self._file, self._begin, self._end = -1, 0, 0

    def views(self, at: fs.FileRange) -> Iterator[memoryview]:
        """Yield the bytes of a range; a view is good until the next is asked for."""
        if at.length > len(self._buffer):
            self._file = -1
            yield from fs.pieces_of(at, self._buffer)
        elif at.length:
            if self._file != at.file or at.offset < self._begin or at.offset + at.length > self._end:
                self._fill(at)
            yield self._buffer[at.offset - self._begin :][: at.length]

    def _fill(self, at: fs.FileRange) -> None:
        count = fs.read_into(at.file, self._buffer, at.offset)
        self._file, self._begin, self._end = at.file, at.offset, at.offset + count
        if count < at.length:
            raise SourceChanged("the file became shorter while it was read")


def translated(work: Callable[..., R], *arguments: object) -> R:
    """Do the work, with failures of the operating system as ours."""
    try:
        return work(*arguments)
    except OSError as error:
        raise fs.failure(error) from error
