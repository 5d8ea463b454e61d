"""The worker's loop on a queue in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from dray.clock import SystemClock
from dray.core.bell import JOBS, Bell
from dray.errors import Busy, DrayError, Forbidden, NoSpace, Unreachable
from dray.model.queue import ScrubTask, Settlement, SweepTask, Task, VerifyTask, Work
from dray.work.loop import Loop, Pace, Tools, batches
from dray.work.steps import Claim, Step

QUICK = Pace(slots=2, files=10, poll=0.02, lease=30.0)


@dataclass
class MemoryQueue:
    """Keeps jobs in a list; ``held`` is None while all claims are good."""

    waiting: list[Work] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)
    failures: list[DrayError] = field(default_factory=list)
    held: set[int] | None = None

    async def claim(self, holder: str, limit: int) -> Sequence[Work]:
        if self.failures:
            raise self.failures.pop()
        self.claims.append(limit)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def renew(self, works: Sequence[Work]) -> set[int]:
        return {work.job for work in works} if self.held is None else self.held

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        if self.failures:
            raise self.failures.pop()
        self.settled += settlements


@dataclass
class Scripted:
    """Does what it is told with each claim."""

    does: Callable[[Claim], Awaitable[Sequence[Step]]]
    given_up: list[tuple[int, DrayError]] = field(default_factory=list)
    fails_to_give_up: DrayError | None = None

    async def step(self, claim: Claim) -> Sequence[Step]:
        return await self.does(claim)

    async def give_up(self, work: Work, error: DrayError) -> None:
        if self.fails_to_give_up:
            raise self.fails_to_give_up
        self.given_up.append((work.job, error))


async def done(claim: Claim) -> list[Step]:
    return [Step(work.job) for work in claim.works]


def work(job: int, task: Task | None = None, failures: int = 0, since: float | None = None) -> Work:
    return Work(job, 1, task or VerifyTask((job,)), failures, since)


async def run(queue: MemoryQueue, handler: Scripted, number: int, bell: Bell | None = None, pace: Pace = QUICK) -> None:
    """Run the loop until ``number`` steps are settled."""
    stop = asyncio.Event()
    tools = Tools(queue, dict.fromkeys(("verify", "scrub", "sweep"), handler), SystemClock(), bell or Bell(), "me")
    running = asyncio.create_task(Loop(tools, pace).run(stop))
    async with asyncio.timeout(20):
        while len(queue.settled) < number:  # noqa: ASYNC110 - the queue has no bell of its own
            await asyncio.sleep(0.005)
        stop.set()
        await running


def play(queue: MemoryQueue, handler: Scripted, number: int) -> list[Settlement]:
    asyncio.run(run(queue, handler, number))
    return queue.settled


def test_jobs_are_done_and_settled_under_their_attempt() -> None:
    settled = play(MemoryQueue([work(1), work(2)]), Scripted(done), 2)
    assert sorted((one.job, one.attempt, one.state) for one in settled) == [(1, 1, "done"), (2, 1, "done")]


def test_a_failure_that_may_pass_waits_with_its_reason() -> None:
    async def full(claim: Claim) -> list[Step]:
        left = VerifyTask((5,))
        return [Step(claim.works[0].job, error=NoSpace("the disk is full", item="a"), task=left)]

    (one,) = play(MemoryQueue([work(1)]), Scripted(full), 1)
    assert (one.state, one.failed, one.reason, one.task) == ("waiting", True, "a: the disk is full", VerifyTask((5,)))
    assert 0.4 < one.delay < 2.0


def test_it_is_tried_again_soon_however_often_it_failed_but_never_before_it_was_asked_to() -> None:
    async def fail(claim: Claim) -> list[Step]:
        return [
            Step(work.job, error=Unreachable("away", after=90.0 if work.job == 2 else None)) for work in claim.works
        ]

    waits = {one.job: one.delay for one in play(MemoryQueue([work(1, failures=30), work(2)]), Scripted(fail), 2)}
    assert waits == {1: QUICK.longest, 2: 90.0}


def test_what_is_raised_is_the_failure_of_all_and_what_is_unknown_is_tried_again() -> None:
    async def crash(claim: Claim) -> list[Step]:
        raise ValueError("a fault of ours")

    settled = play(MemoryQueue([work(1), work(2)]), Scripted(crash), 2)
    assert {one.state for one in settled} == {"waiting"}
    assert "unexpected ValueError: a fault of ours" in settled[0].reason


def test_a_job_that_no_retry_helps_is_given_up_and_dead() -> None:
    async def refuse(claim: Claim) -> list[Step]:
        raise Forbidden("no access")

    handler = Scripted(refuse)
    (one,) = play(MemoryQueue([work(1)]), handler, 1)
    assert (one.state, one.reason) == ("dead", "no access")
    assert [(job, str(error)) for job, error in handler.given_up] == [(1, "no access")]


def test_a_job_that_failed_for_days_is_given_up() -> None:
    async def fail(claim: Claim) -> list[Step]:
        raise Unreachable("away")

    handler = Scripted(fail)
    (one,) = play(MemoryQueue([work(1, failures=99, since=1.0)]), handler, 1)
    assert (one.state, len(handler.given_up)) == ("dead", 1)


def test_a_job_is_not_dead_before_it_could_be_given_up() -> None:
    async def refuse(claim: Claim) -> list[Step]:
        raise Forbidden("no access")

    handler = Scripted(refuse, fails_to_give_up=Busy("the database is locked"))
    (one,) = play(MemoryQueue([work(1)]), handler, 1)
    assert (one.state, one.reason) == ("waiting", "no access")


def test_a_step_that_goes_on_comes_back_without_counting_as_failed() -> None:
    async def page(claim: Claim) -> list[Step]:
        return [Step(claim.works[0].job, again=5.0, reason="goes on", task=ScrubTask(after=9))]

    (one,) = play(MemoryQueue([work(1, ScrubTask())]), Scripted(page), 1)
    assert (one.state, one.delay, one.failed, one.reason, one.task) == (
        "waiting",
        5.0,
        False,
        "goes on",
        ScrubTask(after=9),
    )


def test_while_the_database_is_away_jobs_are_neither_claimed_nor_forgotten() -> None:
    queue = MemoryQueue([work(1)], failures=[Unreachable("away"), Unreachable("away")])
    assert [one.job for one in play(queue, Scripted(done), 1)] == [1]

    async def story() -> None:
        late = MemoryQueue([work(1)])

        async def then_away(claim: Claim) -> list[Step]:
            late.failures = [Unreachable("away")] * 2
            return await done(claim)

        await run(late, Scripted(then_away), 1)
        assert [one.job for one in late.settled] == [1]

    asyncio.run(story())


def test_a_bell_starts_work_without_waiting_for_the_next_look() -> None:
    async def story() -> None:
        queue, bell = MemoryQueue(), Bell()
        running = asyncio.create_task(run(queue, Scripted(done), 1, bell, Pace(poll=3600.0)))
        await asyncio.sleep(0.05)
        queue.waiting.append(work(1))
        bell.ring(JOBS)
        await running
        assert [one.job for one in queue.settled] == [1]

    asyncio.run(story())


def test_no_more_than_the_slots_are_worked_on_at_once() -> None:
    async def story() -> None:
        now, most = 0, 0

        async def slow(claim: Claim) -> list[Step]:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            return await done(claim)

        await run(MemoryQueue([work(n, ScrubTask()) for n in range(12)]), Scripted(slow), 12)
        assert most <= 2 * QUICK.slots

    asyncio.run(story())


def test_a_lost_claim_stops_what_others_would_see() -> None:
    async def story() -> None:
        queue = MemoryQueue([work(1)], held=set())

        async def slow(claim: Claim) -> list[Step]:
            async with asyncio.timeout(10):
                while not claim.lost:  # noqa: ASYNC110 - set by the loop
                    await asyncio.sleep(0.005)
            claim.check()
            raise AssertionError("published under a lost claim")

        await run(queue, Scripted(slow), 1, pace=Pace(poll=0.02, lease=0.03))
        assert (queue.settled[0].state, queue.settled[0].failed) == ("waiting", True)
        assert "claim on this job ran out" in queue.settled[0].reason

    asyncio.run(story())


def test_a_claim_is_over_when_nobody_could_renew_it() -> None:
    now = 5.0
    claim = Claim([work(1)], 10.0, lambda: now)
    claim.check()
    now = 10.0
    with pytest.raises(Busy):
        claim.check()


def test_cancelled_it_ends_at_once_and_settles_nothing() -> None:
    async def story() -> None:
        queue, entered = MemoryQueue([work(1)]), asyncio.Event()

        async def endless(claim: Claim) -> list[Step]:
            entered.set()
            await asyncio.Event().wait()
            return []

        running = asyncio.create_task(run(queue, Scripted(endless), 1))
        await entered.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert queue.settled == []

    asyncio.run(story())


def test_small_verify_jobs_are_gathered_and_others_stay_alone() -> None:
    works = [work(1, VerifyTask(tuple(range(6)))), work(2, ScrubTask()), work(3, VerifyTask(tuple(range(4))))]
    works += [work(4, VerifyTask((1,))), work(5, SweepTask()), work(6, VerifyTask(tuple(range(50))))]
    works += [work(7, VerifyTask((1,), 900)), work(8, VerifyTask((1,), 99)), work(9, VerifyTask((1,), 5000))]
    gathered = [[one.job for one in group] for group in batches(works, Pace(files=10, bytes=1000))]
    assert sorted(gathered) == [[1, 3], [2], [4, 7], [5], [6], [8], [9]]
