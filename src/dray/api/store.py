"""The store of this machine as the byte routes use it: stage, lend, open, free space."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

import msgspec

from dray import fs
from dray.core.datasets import StoredFile
from dray.core.uploads import Uploads, UploadTarget
from dray.errors import DrayError, NoSpace
from dray.model.values import Held, Landing, Staged
from dray.model.views import HeldPart, StagedUpload, StageFile, StoreStatus
from dray.moving.receive import Inbox
from dray.threads import in_thread
from dray.transports.base import Failure

P = ParamSpec("P")
R = TypeVar("R")
THREADS = 16


class Place(Protocol):
    """The session of a place that lends its bytes."""

    @property
    def staging(self) -> Inbox:
        """Return who lends staged bytes."""

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Begin or resume; see ``Session``."""


@dataclass(frozen=True)
class Store:
    """A posix store. ``open_stored`` opens the verified bytes of a file, and blocks.

    ``reserve_percent`` of the disk are left free; ``bundle_bytes`` is the most one bundle may have.
    """

    name: str
    root: str
    place: Place
    open_stored: Callable[[StoredFile], int]
    reserve_percent: int
    bundle_bytes: int
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "store"))

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do blocking work in a thread, with failures of the operating system as ours."""
        try:
            return await in_thread(self.pool, work, *args, **kwargs)
        except OSError as error:
            raise fs.failure(error) from error

    async def staged(self, target: UploadTarget) -> Staged:
        """Begin or resume one upload in the store."""
        (staged,) = await self.place.stage([target.landing()])
        if isinstance(staged, DrayError):
            raise staged
        return staged

    async def status(self) -> list[StoreStatus]:
        """Return the space of each store."""
        usage = await self.run(shutil.disk_usage, self.root)
        return [StoreStatus(name=self.name, kind="posix", bytes_free=usage.free, bytes_total=usage.total)]

    async def free(self) -> int:
        """Return the bytes that uploads may still take."""
        usage = await self.run(shutil.disk_usage, self.root)
        return usage.free - usage.total * self.reserve_percent // 100

    @contextmanager
    def open(self, file: StoredFile) -> Iterator[int]:
        """Open the verified bytes of a file and close them again; blocks."""
        try:
            fd = self.open_stored(file)
        except OSError as error:
            raise fs.failure(error, file.path) from error
        try:
            yield fd
        finally:
            os.close(fd)

    async def check(self, files: Sequence[StoredFile]) -> None:
        """Raise what stands against reading any of these, before an answer is begun."""

        def open_each() -> None:
            for file in files:
                with self.open(file):
                    pass

        await self.run(open_each)

    @asynccontextmanager
    async def opened(self, file: StoredFile) -> AsyncIterator[int]:
        """Open the verified bytes of a file off the loop."""
        opening = self.open(file)
        fd = await self.run(opening.__enter__)
        try:
            yield fd
        finally:
            await self.run(opening.__exit__, None, None, None)

    async def admit(
        self, uploads: Uploads, files: Sequence[StageFile], answers: Sequence[StagedUpload | DrayError]
    ) -> list[StagedUpload | DrayError]:
        """Fill in which parts of staged uploads are held, and refuse those for whose bytes there is no space."""
        left = await self.free()
        admitted: list[StagedUpload | DrayError] = []
        for file, answer in zip(files, answers, strict=True):
            if isinstance(answer, DrayError) or answer.state != "pending" or not answer.upload:
                admitted.append(answer)
                continue
            held = await self._held_parts(uploads, answer) if file.size > answer.part_size else []
            left -= file.size - sum(part.length for part in held)
            admitted.append(msgspec.structs.replace(answer, held=held) if left >= 0 else _no_space(answer.path))
        return admitted

    async def _held_parts(self, uploads: Uploads, answer: StagedUpload) -> list[HeldPart]:
        (target,) = await uploads.targets([answer.upload])
        return [] if isinstance(target, DrayError) else await self.held(target)

    async def held(self, target: UploadTarget) -> list[HeldPart]:
        """Return the parts of an upload that are durable; of a file of one piece none is before it is verified."""
        if target.size <= target.part_size:
            return []
        return [_held(part) for part in (await self.staged(target)).held]


def _held(part: Held) -> HeldPart:
    return HeldPart(number=part.number, offset=part.offset, length=part.length, crc32c=f"{part.crc32c:08x}")


def _no_space(path: str) -> NoSpace:
    return NoSpace(
        "the store has no space for it",
        item=path,
        hint="free space there; it is taken at the next try",
        after=30.0,
    )
