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
from dray.model.views import HeldPart, StagedUpload, StoreStatus
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
        self, uploads: Uploads, answers: Sequence[StagedUpload | DrayError]
    ) -> list[StagedUpload | DrayError]:
        """Fill in which parts of staged uploads are held, and refuse those for whose bytes there is no space."""
        left = await self.free()
        admitted: list[StagedUpload | DrayError] = []
        targets = await self._targets(uploads, answers)
        for answer in answers:
            target = targets.get(answer.upload) if isinstance(answer, StagedUpload) else None
            if isinstance(answer, DrayError) or target is None:
                admitted.append(answer)
                continue
            held = await self.held(target)
            left -= target.size - sum(part.length for part in held)
            admitted.append(msgspec.structs.replace(answer, held=held) if left >= 0 else _no_space(target))
        return admitted

    async def _targets(self, uploads: Uploads, answers: Sequence[StagedUpload | DrayError]) -> dict[int, UploadTarget]:
        sending = [one.upload for one in answers if isinstance(one, StagedUpload) and one.state == "pending"]
        found = await uploads.targets([upload for upload in sending if upload])
        return {target.upload: target for target in found if isinstance(target, UploadTarget)}

    async def held(self, target: UploadTarget) -> list[HeldPart]:
        """Return the parts of an upload that are durable; of a file of one piece none is before it is verified."""
        if target.size <= target.part_size:
            return []
        return [_held(part) for part in (await self.staged(target)).held]


def _held(part: Held) -> HeldPart:
    return HeldPart(number=part.number, offset=part.offset, length=part.length, crc32c=f"{part.crc32c:08x}")


def _no_space(target: UploadTarget) -> NoSpace:
    return NoSpace(
        "the store has no space for it",
        item=target.path,
        hint="free space there; it is taken at the next try",
        after=30.0,
    )
