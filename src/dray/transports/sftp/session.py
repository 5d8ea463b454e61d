"""A directory of an account that ssh reaches as a place for bytes (docs/adr, "SFTP through OpenSSH's own client").

Blocking work runs in threads, each with a connection to itself; nothing here tries anything again.
"""

import asyncio
import copy
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeAlias, TypeVar

import msgspec
from crc32c import crc32c

from dray import fs
from dray.errors import Conflict, DrayError, NotFound, PieceDamaged, Refused, Temporary
from dray.model.values import Change, Claim, Entry, Landing, Proof, Receipt, Ref, Staged
from dray.threads import in_thread
from dray.transports.base import Failure, Piece
from dray.transports.published import attempt
from dray.transports.refs import Target, published_of, ref_of, target_of
from dray.transports.sftp import scripts
from dray.transports.sftp.arriving import Arriving, gone
from dray.transports.sftp.calls import calls_of
from dray.transports.sftp.changing import Changing
from dray.transports.sftp.connection import Script
from dray.transports.sftp.layout import encoded
from dray.transports.sftp.prover import Found, Prover
from dray.transports.sftp.settings import SftpSettings
from dray.transports.sftp.site import Site
from dray.transports.sftp.wire import Attrs
from dray.transports.together import in_path_order

P = ParamSpec("P")
R = TypeVar("R")
Answers: TypeAlias = list[R | DrayError]
Paths: TypeAlias = list[bytes]


async def unless_cancelled(work: Coroutine[None, None, R], break_off: Callable[[], None]) -> R:
    """Wait for work in a thread; where nobody waits any more, break it off and wait until it has ended."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        break_off()
        running.cancel()
        await asyncio.wait([running])
        raise


class Sftp:
    """A directory behind ssh; ``connect`` fails where it cannot be reached. It is made when files first arrive."""

    def __init__(self, settings: SftpSettings) -> None:
        self.settings = settings

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["SftpSession"]:
        """Open a session; several at once, in any processes, do not disturb each other."""
        pool = ThreadPoolExecutor(self.settings.limits.in_flight + 4, thread_name_prefix="sftp")
        try:
            calls = await in_thread(pool, calls_of, self.settings)
            site = await unless_cancelled(in_thread(pool, Site, self.settings, calls), calls.abort)
            try:
                yield SftpSession(site, pool)
            finally:
                await in_thread(None, site.close)
        finally:
            pool.shutdown(wait=False)


class SftpSession:
    """See ``Session``."""

    def __init__(self, site: Site, pool: ThreadPoolExecutor) -> None:
        self.limits = site.settings.limits
        self._site = site
        self._pool = pool
        self._prover = Prover(site)
        self._known: set[bytes] = set()

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do blocking work; a cancelled caller breaks off the connection that it uses."""
        threads: list[int] = []

        def working() -> R:
            threads.append(threading.get_ident())
            return work(*args, **kwargs)

        def break_off() -> None:
            for thread in threads:
                self._site.break_off(thread)

        return await unless_cancelled(in_thread(self._pool, working), break_off)

    def _looked_at(self, answers: Answers[R]) -> Answers[R]:
        """Return answers; where one failed, the folders there may not be what they were."""
        if any(isinstance(one, DrayError) for one in answers):
            self._site.doubt()
        return answers

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield what is below a folder (``prefix``), in path order; links and Dray's own files are no entries."""
        async for entry in in_path_order(lambda folder: self._run(self._scan, folder), prefix):
            yield entry

    def _scan(self, prefix: str) -> tuple[Sequence[Entry], Sequence[str]]:
        files, folders = self._site.do(self._site.final.scan(prefix))
        if not self._site.file or prefix:
            return files, folders
        return [entry for entry in files if encoded(entry.path) == self._site.file], ()

    @property
    def is_file(self) -> bool:
        """Say whether the place is a single file (``SftpSettings.single``)."""
        return bool(self._site.file)

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Begin or resume; the ref holds all of the landing, so that it is good in any other session."""
        return self._looked_at(await self._run(self._stage, landings))

    def _stage(self, landings: Sequence[Landing]) -> Answers[Staged]:
        targets = [target_of(ref_of(landing)) for landing in landings]
        finals = self._site.run(self._look(target) for target in targets)
        places = [self._site.layout.final(target.path) for target in targets]
        same = [
            place
            for landing, place, seen in zip(landings, places, finals, strict=True)
            if isinstance(seen, Attrs) and seen.size == landing.size and landing.checksum is not None
        ]
        contents = self._prover.contents(same, sum(landing.size for landing in landings)) if same else {}
        # It will be needed, and takes as long to come as a connection.
        self._pool.submit(self._site.warm)
        arriving = self._site.arriving()
        return self._site.run(
            self._begin(arriving, landing, seen, contents.get(place))
            for landing, place, seen in zip(landings, places, finals, strict=True)
        )

    def _look(self, target: Target) -> Script[Attrs | None]:
        """Look at the final name, and at the folders above where it is free."""
        seen = yield from self._site.final.look(target.path)
        folder = self._site.layout.folder(target.path)
        if seen is None and folder not in self._known and (yield from scripts.check_above(folder)):
            self._known.add(folder)
        return seen

    def _begin(
        self, arriving: Arriving, landing: Landing, seen: Attrs | DrayError | None, content: Found | None
    ) -> Script[Staged]:
        if isinstance(seen, DrayError):
            raise seen
        target = target_of(ref_of(landing))
        staged = Staged(target.ref, target.path, target.size, self.limits.piece)
        if seen is not None and seen.size == target.size and landing.checksum is None:
            return msgspec.structs.replace(staged, hash_first=True)
        if content is not None and landing.checksum is not None and content.hex == landing.checksum.hex:
            # A crash after publishing leaves a side file, another process's copy of the same a staged one.
            yield from arriving.discard(target)
            return msgspec.structs.replace(staged, done=True)
        if seen is not None and landing.on_exists == "fail":
            raise Conflict("there is another file with this name", hint="nothing was changed")
        if arriving.is_whole(target):
            return staged
        return (yield from arriving.resume(target, staged))

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Write pieces, many on their way at once over one connection; calls at once have a connection each."""
        return self._looked_at(await self._run(self._write, pieces))

    def _write(self, pieces: Sequence[Piece]) -> Answers[Receipt]:
        arriving = self._site.arriving()

        def put(piece: Piece) -> Script[Receipt]:
            return (yield from arriving.put(target_of(piece.ref), piece))

        answers = self._site.run(put(piece) for piece in pieces)
        unclear = next((one for one in answers if type(one) is Temporary), None)
        clear = self._site.explained(unclear) if isinstance(unclear, Temporary) else None
        return [copy.copy(clear) if clear is not None and type(one) is Temporary else one for one in answers]

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Copy ranges of published files; a ref with a tag finds this content even when newer has the name."""
        return await self._run(self._site.run, (self._read(piece) for piece in pieces))

    def _read(self, piece: Piece) -> Script[Receipt]:
        found = published_of(piece.ref)
        if found is None:
            raise Refused("not a ref of a published file")
        crc, length = 0, piece.at.length

        def hashed(data: bytes) -> None:
            nonlocal crc
            crc = crc32c(data, crc)

        def take(offset: int, data: bytes) -> None:
            fs.DISK.pwrite(piece.at.file, data, piece.at.offset + offset - piece.offset)
            in_order.take(offset, data)

        in_order = scripts.InOrder(hashed, piece.offset)
        path, _ = yield from self._site.final.find(*found)
        yield from self._site.final.read(path, range(piece.offset, piece.offset + length), take)
        if piece.crc32c not in (None, crc):
            raise PieceDamaged("the bytes are not what they were said to be")
        return Receipt(piece.ref, piece.number, length, crc, "flushed")

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Make durable together, then compute digests there where a shell can, else read back."""
        return self._looked_at(await self._run(self._prover.verify, claims))

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Rename into place; what the name held is kept below ``.dray/versions`` where the settings say so."""
        return self._looked_at(await self._run(self._publish, staged))

    def _publish(self, refs: Sequence[Ref]) -> Answers[Entry]:
        arriving = self._site.arriving()
        answers = self._place(refs)
        # A folder that was known may have been removed since.
        again = [index for index, answer in enumerate(answers) if isinstance(answer, NotFound)]
        self._known.difference_update(self._folders([refs[index] for index in again]))
        for index, answer in zip(again, self._place([refs[index] for index in again]), strict=True):
            answers[index] = gone() if isinstance(answer, NotFound) else answer
        placed = [ref for ref, answer in zip(refs, answers, strict=True) if isinstance(answer, Entry)]
        self._site.sync_folders(self._folders(placed))
        large = [target for target in map(target_of, placed) if not arriving.is_whole(target)]
        self._site.run(scripts.remove(self._site.layout.side(target)) for target in large)
        return answers

    def _folders(self, refs: Sequence[Ref]) -> Paths:
        """Return the folders of good refs, each once."""
        targets = (attempt(target_of, ref) for ref in refs)
        return list({self._site.layout.folder(one.path) for one in targets if isinstance(one, Target)})

    def _place(self, refs: Sequence[Ref]) -> Answers[Entry]:
        """Make the folders that are missing, then rename."""
        site, settings = self._site, self._site.settings
        missing = [folder for folder in self._folders(refs) if folder not in self._known]
        made = site.run(scripts.make_folder(one, settings.folder_mode, durable=site.syncs) for one in missing)
        failed = {folder: one for folder, one in zip(missing, made, strict=True) if isinstance(one, DrayError)}
        self._known.update(folder for folder in missing if folder not in failed)

        def place(ref: Ref) -> Script[Entry]:
            target = target_of(ref)
            if error := failed.get(site.layout.folder(target.path)):
                raise error
            return (yield from site.final.place(target))

        return site.run(place(ref) for ref in refs)

    async def change(self, changes: Sequence[Change]) -> Sequence[Failure | None]:
        """Make changes of names one after another, each durable when it is answered."""
        return await self._run(self._change, changes)

    def _change(self, changes: Sequence[Change]) -> Answers[None]:
        site = self._site
        changing = Changing(site.layout, site.syncs, site.settings.folder_mode)
        return [answer for change in changes for answer in site.run([changing.change(change)])]

    def where(self, ref: Ref) -> str:
        """Return how programs such as scp name a staged file."""
        settings, path = self._site.settings, self._site.layout.staged(target_of(ref))
        return f"{f'{settings.user}@' if settings.user else ''}{settings.host}:{os.fsdecode(path)}"

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Remove what is staged, or what is published, whichever the ref names."""
        return await self._run(self._site.run, (self._remove(ref) for ref in refs))

    def _remove(self, ref: Ref) -> Script[None]:
        found = published_of(ref)
        if found is not None:
            yield from self._site.final.remove(*found)
        else:
            yield from self._site.staged.discard(target_of(ref))
