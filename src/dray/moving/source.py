"""Where a mover takes bytes from: the seam, and the two that fill it in."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from dray import fs, kernel
from dray.errors import Busy, DrayError, IntegrityFailure
from dray.fs import FileRange
from dray.model.checksum import Checksum
from dray.model.parts import Part, parts, plan_part_size
from dray.model.values import Claim, Receipt, Ref, Staged
from dray.moving.bounded import bounded
from dray.moving.digest import Pass, begin, check_version, gather, version_of
from dray.moving.item import Content, Item
from dray.moving.spool import Spool
from dray.moving.writers import is_local
from dray.threads import in_thread
from dray.transports.base import Piece, Session

__all__ = ["Content", "Item", "LocalFiles", "Opened", "RemoteFiles", "Source", "version_of"]

WHOLE = 1 << 62


class Opened(Protocol):
    """A large file held open while it moves."""

    async def checksum(self) -> Checksum:
        """Return what the mover claims the whole file is.

        Without ``pieces`` having run to their end this reads the whole file first. Raises SourceChanged when it is
        not the version the item names.
        """

    def pieces(self, staged: Staged) -> AsyncIterator[Piece]:
        """Yield the parts that are not held, in order, each ready to be written.

        Held parts are read too, where that is what the claim needs. Raises IntegrityFailure when one of them is not
        what the source has, SourceChanged when the file is not (or no longer) the version the item names.
        """


class Source(Protocol):
    """A place that items come from; one batch's calls are made in order, several batches may run at once."""

    async def gather(self, items: Sequence[Item], spool: Spool) -> Sequence[Content | DrayError]:
        """Copy whole small files into the spool, one after another; a failed one is an error in its place."""

    def opened(self, item: Item) -> AbstractAsyncContextManager[Opened]:
        """Open one large file."""


class LocalFiles:
    """Files beneath a directory of this machine; links are not followed, only regular files are read.

    A file counts only while it is the version its item names (SourceVersion of the opened file, before and after
    reading); otherwise SourceChanged. One that somebody writes to is SourceBusy, one that may not be read Forbidden.
    """

    def __init__(self, root: str | Path, pool: Executor | None = None, disk: fs.Disk = fs.DISK) -> None:
        self._root = str(root)
        self._pool = pool
        self._disk = disk

    async def gather(self, items: Sequence[Item], spool: Spool) -> Sequence[Content | DrayError]:
        """Read and hash a batch in one thread."""
        return await in_thread(self._pool, gather, self._root, items, spool, self._disk)

    @asynccontextmanager
    async def opened(self, item: Item) -> AsyncIterator[Opened]:
        """Open one file for as long as it moves, or until it is cancelled, even while it is opened."""
        opened: list[int] = []
        try:
            await in_thread(self._pool, lambda: opened.append(self._open(item)))
            yield _LocalFile(opened[0], item, self._pool)
        finally:
            for fd in opened:
                os.close(fd)

    def _open(self, item: Item) -> int:
        folder_path, _, name = item.origin.rpartition("/")
        try:
            with fs.Root(self._root) as root, root.folder(folder_path) as folder:
                fd, local = folder.open_read(name), is_local(root.path)
        except OSError as error:
            raise fs.failure(error) from error
        try:
            begin(fd, item, local=local)
        except DrayError:
            os.close(fd)
            raise
        return fd


class _LocalFile:
    def __init__(self, fd: int, item: Item, pool: Executor | None) -> None:
        self._fd = fd
        self._item = item
        self._pool = pool
        self._checksum: Checksum | None = None

    async def checksum(self) -> Checksum:
        if self._checksum is None:
            reading = Pass(self._fd)
            for part in parts(self._item.size, plan_part_size(self._item.size)):
                await in_thread(self._pool, _read, reading, part)
            return self._finish(reading)
        return self._checksum

    def _finish(self, reading: Pass) -> Checksum:
        check_version(self._fd, self._item)
        self._checksum = reading.checksum()
        return self._checksum

    async def pieces(self, staged: Staged) -> AsyncIterator[Piece]:
        held = {one.number: one.crc32c for one in staged.held}
        reading = Pass(self._fd)
        for part in parts(staged.size, staged.part_size):
            crc = await in_thread(self._pool, _read, reading, part)
            if held.get(part.number, crc) != crc:
                raise IntegrityFailure(f"part {part.number} is held with other bytes than the source has")
            if part.number not in held:
                yield Piece(staged.ref, part.number, part.offset, FileRange(self._fd, part.offset, part.length), crc)
        self._finish(reading)


def _read(reading: Pass, part: Part) -> int:
    try:
        return reading.part(part)
    except OSError as error:
        raise fs.failure(error) from error


class RemoteFiles:
    """Published files of a session; ``Item.origin`` is the ref of an entry.

    Where the destination lends its bytes (``Staged.local``), they are fetched right into the staged file; otherwise
    through an unnamed temporary one. What is claimed is the checksum of the catalogue (``Item.checksum``), or what the
    session proves where there is none.
    """

    def __init__(self, session: Session, disk: fs.Disk = fs.DISK) -> None:
        self._session = session
        self._disk = disk

    async def gather(self, items: Sequence[Item], spool: Spool) -> Sequence[Content | DrayError]:
        """Fetch a batch into the spool with one call."""
        pieces = [Piece(Ref(item.origin), 1, 0, spool.reserve(item.size)) for item in items]
        receipts = await self._session.read(pieces)
        checksums = await self._checksums(items)
        return [_content(*found) for found in zip(pieces, receipts, checksums, strict=True)]

    async def _checksums(self, items: Sequence[Item]) -> Sequence[Checksum | DrayError]:
        unknown = [item for item in items if item.checksum is None]
        proofs = iter(await self._session.verify([_question(item) for item in unknown]) if unknown else ())
        answers = [item.checksum or next(proofs) for item in items]
        return [answer if isinstance(answer, Checksum | DrayError) else answer.checksum for answer in answers]

    @asynccontextmanager
    async def opened(self, item: Item) -> AsyncIterator[Opened]:
        """Keep what is fetched open until it was written."""
        file = _RemoteFile(self, item)
        try:
            yield file
        finally:
            file.close()

    @property
    def in_flight(self) -> int:
        """Return how many ranges of one file are fetched at once."""
        return self._session.limits.in_flight

    async def fetch(self, piece: Piece) -> Receipt:
        """Fetch one range or raise why not."""
        receipt = (await self._session.read([piece]))[0]
        if isinstance(receipt, DrayError):
            raise receipt
        return receipt

    async def checksum(self, item: Item) -> Checksum:
        """Return what the catalogue, or else the place itself, says the file has."""
        answer = (await self._checksums([item]))[0]
        if isinstance(answer, DrayError):
            raise answer
        return answer


class _RemoteFile:
    def __init__(self, source: RemoteFiles, item: Item) -> None:
        self._source = source
        self._item = item
        self._close: Callable[[], None] | None = None

    def close(self) -> None:
        if self._close is not None:
            self._close()

    async def checksum(self) -> Checksum:
        return await self._source.checksum(self._item)

    async def pieces(self, staged: Staged) -> AsyncIterator[Piece]:
        fd = await in_thread(None, self._open, staged.local)
        held = {one.number for one in staged.held}
        origin = Ref(self._item.origin)

        async def fetch(part: Part) -> Piece:
            at = FileRange(fd, part.offset, part.length)
            receipt = await self._source.fetch(Piece(origin, part.number, part.offset, at))
            return Piece(staged.ref, part.number, part.offset, at, receipt.crc32c)

        missing = [part for part in parts(staged.size, staged.part_size) if part.number not in held]
        async for piece in bounded(missing, fetch, self._source.in_flight):
            yield piece

    def _open(self, local: str | None) -> int:
        """Open where the bytes go, until ``close``: pieces are still written when the last one was yielded."""
        if local is None:
            spool = Spool(on_disk=True)
            self._close = spool.close
            return spool.file
        try:
            fd = open_lent(local)
        except OSError as error:
            raise fs.failure(error) from error
        self._close = lambda: os.close(fd)
        return fd


def open_lent(local: str) -> int:
    """Open a staged file that its place lends, for nobody else: Busy while another process fetches the same."""
    above, name = os.path.split(local)
    with fs.Root(above) as root:
        fd = root.top.open_write(name)
        seen = root.top.stat(name) if kernel.lock_range(fd, 0, WHOLE) else None
        # Whoever had the lock may have published the file before this process got it.
        if seen is not None and os.path.samestat(seen, os.fstat(fd)):
            return fd
    os.close(fd)
    raise Busy("another process is fetching this file")


def _content(piece: Piece, receipt: Receipt | DrayError, checksum: Checksum | DrayError) -> Content | DrayError:
    if isinstance(receipt, DrayError):
        return receipt
    return checksum if isinstance(checksum, DrayError) else Content(piece.at, checksum, receipt.crc32c)


def _question(item: Item) -> Claim:
    """Ask what a published file has: a claim that nobody believes, since the proof is the answer."""
    return Claim(Ref(item.origin), item.size, Checksum("sha256", "0" * 64))
