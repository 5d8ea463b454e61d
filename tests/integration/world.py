"""A server's use cases around one database, for tests that run on both kinds of it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import text

from dray.core.access import Access, Principal
from dray.core.announce import Announcements
from dray.core.bell import Bell
from dray.core.datasets import Datasets
from dray.core.queue import Jobs, WorkQueue
from dray.core.record import Records, Verdict
from dray.core.scrub import Scrubs
from dray.core.sweep import Repeats, Sweep
from dray.core.uploads import Uploads, UploadTarget
from dray.model.checksum import Checksum
from dray.model.parts import plan_part_size
from dray.model.queue import Settlement, VerifyTask, Work
from dray.model.values import Limits, Proof, Ref
from dray.model.views import CompleteItem, StagedUpload, StageFile, StageRequest, UploadView
from dray.state.database import Database, open_database

T = TypeVar("T")
STORE = "store"
LIMITS = Limits(piece=64 << 10)


@dataclass
class HandClock:
    """Stands still until it is moved; both clocks go together."""

    now: float = 1_700_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class World:
    """The use cases of one server process."""

    database: Database
    clock: HandClock = field(default_factory=HandClock)
    bell: Bell = field(default_factory=Bell)

    def __post_init__(self) -> None:
        parts = (self.database, self.clock, self.bell)
        self.admin = Principal(1, "admin", frozenset(["admin"]))
        self.access = Access(self.database, self.clock)
        self.uploads = Uploads(*parts, lambda size: plan_part_size(size, LIMITS))
        self.datasets = Datasets(self.database, self.clock)
        self.announcements = Announcements(*parts)
        self.jobs = Jobs(*parts)
        self.queue = WorkQueue(*parts)
        self.records = Records(*parts, STORE)
        self.scrubs = Scrubs(*parts)
        self.sweep = Sweep(*parts)
        self.repeats = Repeats(self.database, self.clock)

    async def stage(self, *files: StageFile, dataset: str = "raw", who: Principal | None = None) -> list[StagedUpload]:
        """Stage files and return what came of them; no failures."""
        staged = await self.uploads.stage(who or self.admin, StageRequest(dataset=dataset, files=list(files)))
        return [good(one) for one in staged]

    async def complete(self, staged: Sequence[StagedUpload], content: str = "a") -> list[UploadView]:
        """Claim the content of staged files."""
        items = [claim(one.upload, content) for one in staged]
        return [good(one) for one in await self.uploads.complete(self.admin, items)]

    async def claim_verification(self, holder: str = "worker") -> list[Work]:
        """Claim the verify jobs that are due."""
        return [work for work in await self.queue.claim(holder, 100) if work.kind == "verify"]

    async def prove(self, works: Sequence[Work]) -> set[int]:
        """Record that the bytes of all uploads of jobs are as claimed."""
        verdicts = [
            Verdict(target.upload, work.job, work.attempt, proof_of(target))
            for work in works
            if isinstance(work.task, VerifyTask)
            for target in [good(one) for one in await self.uploads.targets(work.task.uploads)]
        ]
        return await self.records.record(verdicts)

    async def accept(self, *files: StageFile, content: str = "a", dataset: str = "raw") -> list[StagedUpload]:
        """Bring files all the way to accepted."""
        staged = await self.stage(*files, dataset=dataset)
        await self.complete(staged, content)
        works = await self.claim_verification()
        await self.prove(works)
        await self.queue.settle([Settlement(work.job, work.attempt, "done") for work in works])
        return staged

    async def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run SQL behind the program's back."""

        def run(connection: object) -> list[tuple[object, ...]]:
            result = connection.execute(text(statement))  # type: ignore[attr-defined]
            return [tuple(row) for row in result.all()] if result.returns_rows else []

        return await self.database.write(run)


def file(path: str = "a.dat", version: str = "v1", content: str = "a", **more: object) -> StageFile:
    """A file whose size is that of its content."""
    return StageFile(path=path, size=len(content), version=version, **more)  # type: ignore[arg-type]


def claim(upload: int, content: str = "a") -> CompleteItem:
    return CompleteItem(upload=upload, size=len(content), checksum=checksum(content))


def checksum(content: str) -> str:
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def proof_of(target: UploadTarget) -> Proof:
    return Proof(
        Ref("ref"), target.size, target.checksum or Checksum("sha256", ""), f"tag-{target.upload}", "test", "durable"
    )


def good(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def until(look: Callable[[], Awaitable[object]], seconds: float = 60.0) -> None:
    """Look again and again until there is something."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.02)


@asynccontextmanager
async def world_at(url: str) -> AsyncIterator[World]:
    """Open a database and close it again."""
    database = await asyncio.to_thread(open_database, url)
    try:
        yield World(database)
    finally:
        await database.close()
