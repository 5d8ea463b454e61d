"""Reads local files again to say what they are now, where a digest of that very version is not known already."""

import asyncio
import os
from collections.abc import Sequence
from functools import cached_property

from dray import fs
from dray.clock import Clock
from dray.errors import DrayError, SourceBusy, SourceChanged, Temporary
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.parts import parts, plan_batches
from dray.model.values import SourceVersion, Value
from dray.moving.digest import Pass, outwait_tick, version_of
from dray.moving.known import Known
from dray.moving.report import Report
from dray.moving.writers import is_local, refuse_writers
from dray.threads import in_thread

SMALL = 1 << 20
"""Files up to this size are read many together in one thread call."""
SLICE = 64 << 20
"""Bytes of a large file that are read before progress is told and a stop is noticed."""


class Now(Value, frozen=True):
    """What a local file is: its version and digest, equal before and after it was read (``fresh``: just now)."""

    version: str
    size: int
    checksum: Checksum
    fresh: bool = True


class Asked(Value, frozen=True):
    """A file to read: its path below the root, its name for the report, and the size it was seen with."""

    origin: str
    path: RemotePath
    size: int


class Reader:
    """Reads files beneath a root. ``stop`` ends it between slices; what was learned is noted in ``known``."""

    def __init__(self, root: fs.Root, known: Known | None, clock: Clock, report: Report, stop: asyncio.Event) -> None:
        self._root = root
        self._known = known
        self._clock = clock
        self._report = report
        self._stop = stop

    async def read(self, asked: Sequence[Asked]) -> list[Now | DrayError]:
        """Say what each file is now, in order; one that cannot be read, or changes, is an error in its place."""
        found: dict[str, Now | DrayError] = {}
        for batch in plan_batches([one for one in asked if one.size <= SMALL], lambda one: one.size):
            self._stopped()
            found.update(await in_thread(None, self._read_small, batch))
        for one in asked:
            if one.size > SMALL:
                found[one.origin] = await self._read_large(one)
        await in_thread(None, self._note, list(found.values()))
        return [found[one.origin] for one in asked]

    def unchanged(self, origin: str, version: str) -> bool:
        """Say whether a file is still the version that was read. Blocks."""
        folder_path, _, name = origin.rpartition("/")
        try:
            with self._root.folder(folder_path) as folder:
                seen = folder.stat(name)
        except OSError:
            return False
        return seen is not None and version_of(seen).token() == version

    def _read_small(self, batch: Sequence[Asked]) -> dict[str, Now | DrayError]:
        with fs.Folders(self._root) as folders:
            return {one.origin: self._attempt(folders, one) for one in batch}

    def _attempt(self, folders: fs.Folders, one: Asked) -> Now | DrayError:
        folder_path, _, name = one.origin.rpartition("/")
        try:
            fd = folders.at(folder_path).open_read(name)
            try:
                return self._read_open(fd)
            finally:
                os.close(fd)
        except OSError as error:
            return fs.failure(error)
        except DrayError as error:
            return error

    def _read_open(self, fd: int) -> Now:
        seen = self._begin(fd)
        known = self._digest(seen.token())
        if known is not None:
            return Now(seen.token(), seen.size, known, fresh=False)
        reading = Pass(fd)
        for part in parts(seen.size, SLICE):
            reading.part(part)
        return _settled(fd, Now(seen.token(), seen.size, reading.checksum()))

    async def _read_large(self, one: Asked) -> Now | DrayError:
        try:
            fd = await in_thread(None, self._open, one.origin)
        except DrayError as error:
            return error
        try:
            return await self._read_slices(fd, one.path)
        except OSError as error:
            return fs.failure(error)
        except (SourceBusy, SourceChanged) as error:
            return error
        finally:
            os.close(fd)

    async def _read_slices(self, fd: int, path: RemotePath) -> Now:
        seen = await in_thread(None, self._begin, fd)
        known = await in_thread(None, self._digest, seen.token())
        if known is not None:
            return Now(seen.token(), seen.size, known, fresh=False)
        self._report.phase(path, "hash")
        reading = Pass(fd)
        for part in parts(seen.size, SLICE):
            self._stopped()
            await in_thread(None, reading.part, part)
            self._report.moved(path, part.length)
        return _settled(fd, Now(seen.token(), seen.size, reading.checksum()))

    def _begin(self, fd: int) -> SourceVersion:
        """Say which version is open, and make sure that any change from now on will show."""
        seen = os.fstat(fd)
        outwait_tick(seen)
        if self._local:
            refuse_writers(fd)
        return version_of(seen)

    @cached_property
    def _local(self) -> bool:
        return is_local(self._root.path)

    def _open(self, origin: str) -> int:
        folder_path, _, name = origin.rpartition("/")
        try:
            with self._root.folder(folder_path) as folder:
                return folder.open_read(name)
        except OSError as error:
            raise fs.failure(error) from error

    def _digest(self, version: str) -> Checksum | None:
        return self._known.digest(version) if self._known else None

    def _note(self, found: Sequence[Now | DrayError]) -> None:
        digests = {now.version: now.checksum for now in found if isinstance(now, Now) and now.fresh}
        if self._known and digests:
            self._known.keep(digests, self._clock.wall())

    def _stopped(self) -> None:
        if self._stop.is_set():
            raise Temporary("stopped before the file was read", hint="run the same command again")


def _settled(fd: int, now: Now) -> Now:
    """Return what was read, unless the file changed while it was."""
    if version_of(os.fstat(fd)).token() != now.version:
        raise SourceChanged("the file changes while it is read", hint="look again when it is finished")
    return now
