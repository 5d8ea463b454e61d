"""The worker: claim -> handle -> settle, a bounded number at a time, until it is told to stop."""

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dray.clock import Clock
from dray.core.bell import JOBS, Bell
from dray.core.queue import LEASE
from dray.errors import DrayError, Temporary
from dray.model.queue import Queue, Settlement, VerifyTask, Work
from dray.model.retry import decide_retry
from dray.model.values import Value
from dray.work.steps import Claim, Handler, Step

LOG = logging.getLogger(__name__)


class Pace(Value, frozen=True):
    """How much a worker does at once; times in seconds.

    Up to ``files`` and ``bytes`` of several jobs are verified together, so that small ones share what a batch costs and
    do not wait for large ones. ``poll`` is how often it looks without being rung for, ``longest`` how long
    a failed job waits at most: what was full or away is noticed soon. ``lease`` is that of the queue.
    """

    slots: int = 3
    files: int = 512
    bytes: int = 64 << 20
    poll: float = 1.0
    lease: float = LEASE
    longest: float = 30.0


@dataclass(frozen=True)
class Tools:
    """What a loop works with: where jobs come from, who does each kind, under which name it claims."""

    queue: Queue
    handlers: Mapping[str, Handler]
    clock: Clock
    bell: Bell
    holder: str


class Loop:
    """Works on the jobs of a queue. Several may run, in any processes; claims keep them apart."""

    def __init__(self, tools: Tools, pace: Pace | None = None) -> None:
        self._tools = tools
        self._pace = pace or Pace()
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then finish what was begun; cancelled, leave it to be rescued."""
        self._stop = stop
        renewing = asyncio.create_task(self._renew())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._turn(stopping)
            while self._running:
                await asyncio.wait(self._running)
        finally:
            for task in (renewing, stopping, *self._running):
                task.cancel()
            await asyncio.gather(renewing, stopping, *self._running, return_exceptions=True)

    async def _turn(self, stopping: "asyncio.Task[bool]") -> None:
        """Begin what is due and there is room for; else wait for the bell, for room, or for the next look."""
        with self._tools.bell.listen(JOBS) as ear:
            for works in batches(await self._claim(), self._pace):
                self._begin(works)
            ringing = asyncio.create_task(ear.wait(self._pace.poll))
            full = len(self._running) >= self._pace.slots
            waited = [stopping, *self._running] if full else [stopping, ringing, *self._running]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)

    async def _claim(self) -> list[Work]:
        """Claim jobs for the free slots; small ones until their files fill the slots."""
        free = self._pace.slots - len(self._running)
        works: list[Work] = []
        try:
            while sum(_load(work, self._pace) for work in works) < free:
                more = await self._tools.queue.claim(self._tools.holder, 2 * free)
                works += more
                if len(more) < 2 * free:
                    break
        except DrayError as error:
            LOG.warning("no jobs can be claimed: %s", error)
        return works

    def _begin(self, works: Sequence[Work]) -> None:
        monotonic = self._tools.clock.monotonic
        claim = Claim(works, monotonic() + self._pace.lease, monotonic)
        task = asyncio.create_task(self._handle(claim))
        self._running[task] = claim
        task.add_done_callback(self._running.pop)

    async def _handle(self, claim: Claim) -> None:
        steps = await self._steps(claim)
        await self._settle([await self._conclude(work, steps[work.job]) for work in claim.works])

    async def _steps(self, claim: Claim) -> dict[int, Step]:
        """Do a step of each job; whatever is raised is how it ended."""
        try:
            done = await self._tools.handlers[claim.works[0].kind].step(claim)
            return {step.job: step for step in done}
        except Exception as error:
            return {work.job: Step(work.job, error=_known(error, work)) for work in claim.works}

    async def _conclude(self, work: Work, step: Step) -> Settlement:
        """Decide what becomes of a job after its step."""
        if step.again is not None:
            return Settlement(work.job, work.attempt, "waiting", step.reason, step.again, task=step.task)
        if step.error is None:
            return Settlement(work.job, work.attempt, "done", step.reason, task=step.task)
        return await self._failed(work, step, step.error)

    async def _failed(self, work: Work, step: Step, error: DrayError) -> Settlement:
        now = self._tools.clock.wall()
        since = work.first_failed_at or now
        delay = decide_retry(error, work.failures + 1, since, now, jitter=random.random())  # noqa: S311
        if delay is not None:
            delay = max(min(delay, self._pace.longest), error.after or 0.0)
        elif not await self._give_up(work, error):
            delay = self._pace.longest
        state: Literal["waiting", "dead"] = "dead" if delay is None else "waiting"
        next_try = "given up" if delay is None else f"next try in {delay:.0f} s"
        LOG.warning("job %d (%s) failed: %s; %s", work.job, work.kind, error, next_try)
        return Settlement(work.job, work.attempt, state, str(error), delay or 0.0, failed=True, task=step.task)

    async def _give_up(self, work: Work, error: DrayError) -> bool:
        """Leave nothing waiting for a job; False when that has to be tried again."""
        try:
            await self._tools.handlers[work.kind].give_up(work, error)
        except DrayError as failure:
            LOG.warning("job %d could not be given up: %s", work.job, failure)
            return False
        return True

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle, again and again while the database cannot take it: until then the jobs are this worker's.

        When the worker stops meanwhile, they are rescued from it.
        """
        while True:
            try:
                return await self._tools.queue.settle(settlements)
            except Exception as error:
                LOG.warning("jobs cannot be settled yet: %s", error, exc_info=not isinstance(error, DrayError))
            if self._stop.is_set():
                return
            await asyncio.sleep(self._pace.poll)

    async def _renew(self) -> None:
        """Hold the claims of what runs; note those that were lost."""
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            claims = list(self._running.values())
            asked = self._tools.clock.monotonic()
            try:
                held = await self._tools.queue.renew([work for claim in claims for work in claim.works])
            except DrayError as error:
                LOG.warning("claims cannot be renewed: %s", error)
                continue
            for claim in claims:
                claim.until = asked + self._pace.lease
                claim.lost |= {work.job for work in claim.works} - held


def batches(works: Sequence[Work], pace: Pace) -> Iterator[list[Work]]:
    """Yield jobs that are worked on together: small verify jobs as many as fit, others alone."""
    gathered: list[Work] = []
    for work in works:
        if _load(work, pace) >= 1.0:
            yield [work]
        elif sum(_load(one, pace) for one in (*gathered, work)) > 1.0:
            yield gathered
            gathered = [work]
        else:
            gathered.append(work)
    if gathered:
        yield gathered


def _load(work: Work, pace: Pace) -> float:
    """Return how much of a slot a job fills: 1 or more is all of it."""
    if not isinstance(work.task, VerifyTask):
        return 1.0
    return max(len(work.task.uploads) / pace.files, work.task.bytes / pace.bytes)


def _known(error: Exception, work: Work) -> DrayError:
    """Return a failure we know; one we do not is logged in full and tried again, since the fault may be ours."""
    if isinstance(error, DrayError):
        return error
    LOG.error("job %d (%s) failed unexpectedly", work.job, work.kind, exc_info=error)
    return Temporary(f"unexpected {type(error).__name__}: {error}", hint="the server's log says more")
