"""Claims, leases, fences and fair shares, on both databases."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from dray.core.access import Principal
from dray.core.queue import WorkQueue
from dray.errors import Denied, NotFound
from dray.model.queue import ScrubTask, Settlement, SweepTask, VerifyTask, Work
from dray.model.views import DatasetRequest, ScrubRequest
from dray.state import jobs
from tests.integration.world import World, world_at

Story = Callable[[World], Awaitable[None]]


def play(url: str, story: Story) -> None:
    async def run() -> None:
        async with world_at(url) as world:
            await story(world)

    asyncio.run(run())


async def add(world: World, *numbers: int, lane: str = "lane") -> list[int]:
    """Queue one job for each number."""
    now = world.clock.wall()
    return [
        await world.database.write(
            lambda connection, n=number: jobs.add(connection, VerifyTask((n,)), lane, now, "new")
        )  # type: ignore[misc]
        for number in numbers
    ]


def numbers(works: list[Work]) -> list[int]:
    return [work.task.uploads[0] for work in works if isinstance(work.task, VerifyTask)]


def test_two_claimers_at_once_never_get_one_job(database_url: str) -> None:
    async def story(world: World) -> None:
        await add(world, *range(40))
        taken = await asyncio.gather(*(world.queue.claim(f"worker-{n}", 10) for n in range(8)))
        while len([work for works in taken for work in works]) < 40:
            taken.append(await world.queue.claim("last", 40))
        jobs_taken = Counter(work.job for works in taken for work in works)
        assert len(jobs_taken) == 40
        assert set(jobs_taken.values()) == {1}

    play(database_url, story)


def test_a_busy_lane_does_not_keep_another_one_waiting(database_url: str) -> None:
    async def story(world: World) -> None:
        await add(world, *range(10), lane="busy")
        await add(world, 100, 101, lane="other")
        first = list(await world.queue.claim("worker", 4))
        assert sorted(numbers(first)) == [0, 1, 100, 101]
        second = list(await world.queue.claim("worker", 4))
        assert sorted(numbers(second)) == [2, 3, 4, 5]

    play(database_url, story)


def test_what_somebody_waits_for_goes_before_what_nobody_waits_for(database_url: str) -> None:
    async def story(world: World) -> None:
        now = world.clock.wall()
        await world.database.write(lambda connection: jobs.add(connection, ScrubTask(), "scrub", now, "new"))
        await add(world, 1, 2, 3)
        assert numbers(list(await world.queue.claim("worker", 3))) == [1, 2, 3]

    play(database_url, story)


def test_what_an_older_attempt_settles_changes_nothing(database_url: str) -> None:
    async def story(world: World) -> None:
        await add(world, 1)
        (old,) = await world.queue.claim("first", 1)
        await world.queue.settle([Settlement(old.job, old.attempt, "waiting", "given back")])
        (new,) = await world.queue.claim("second", 1)
        assert (new.job, new.attempt) == (old.job, old.attempt + 1)
        await world.queue.settle([Settlement(old.job, old.attempt, "done")])
        assert await world.execute("SELECT state FROM jobs") == [("running",)]
        assert await world.queue.renew([old]) == set()
        assert await world.queue.renew([new]) == {new.job}
        await world.queue.settle([Settlement(new.job, new.attempt, "done")])
        await world.queue.settle([Settlement(new.job, new.attempt, "waiting", "again")])
        assert await world.execute("SELECT state FROM jobs") == [("done",)]

    play(database_url, story)


def test_a_failure_waits_with_its_reason_and_is_an_event(database_url: str) -> None:
    async def story(world: World) -> None:
        await add(world, 1)
        (work,) = await world.queue.claim("worker", 1)
        failed = Settlement(work.job, work.attempt, "waiting", "the disk is full", 3600.0, failed=True)
        await world.queue.settle([failed])
        assert await world.queue.claim("worker", 1) == []
        view = await world.jobs.job(world.admin, work.job)
        assert (view.state, view.reason) == ("waiting", "the disk is full")
        status = await world.jobs.status()
        assert (status.waiting, status.running, status.reason) == (1, 0, "the disk is full")
        assert status.next_try == view.run_at
        page = await world.announcements.events(world.admin)
        assert [(event.kind, event.data["reason"]) for event in page.items] == [("job.waiting", "the disk is full")]
        await world.execute("UPDATE jobs SET run_at = 0")
        (again,) = await world.queue.claim("worker", 1)
        assert again.failures == 1
        assert again.first_failed_at is not None
        await world.queue.settle([Settlement(again.job, again.attempt, "waiting", "goes on", task=VerifyTask((2,)))])
        (fresh,) = await world.queue.claim("worker", 1)
        assert (fresh.failures, fresh.first_failed_at, fresh.task) == (0, None, VerifyTask((2,)))

    play(database_url, story)


def test_what_ran_when_a_process_ended_is_taken_up_again(database_url: str) -> None:
    async def run() -> None:
        async with world_at(database_url) as first:
            await add(first, 1)
            (work,) = await first.queue.claim("killed", 1)
        async with world_at(database_url) as second:
            await second.execute("UPDATE jobs SET lease_until = 0")
            await second.queue.start()
            works = [one for one in await second.queue.claim("next", 10) if one.kind == "verify"]
            assert [(one.job, one.attempt) for one in works] == [(work.job, work.attempt + 1)]
            assert works[0].failures == 1

    asyncio.run(run())


def test_a_job_that_ends_its_worker_every_time_comes_back_later_and_later(database_url: str) -> None:
    async def story(world: World) -> None:
        await add(world, 1)
        delays = []
        for _ in range(4):
            await world.execute("UPDATE jobs SET run_at = 0")
            assert len(await world.queue.claim("killed", 1)) == 1
            await world.execute("UPDATE jobs SET lease_until = 0")
            await world.database.write(lambda connection: jobs.rescue(connection, world.clock.wall()))
            ((delay,),) = await world.execute("SELECT run_at - updated FROM jobs")
            delays.append(float(str(delay)))
        assert delays == pytest.approx([0.0, 2.0, 4.0, 8.0])

    play(database_url, story)


def test_a_lease_that_runs_out_on_postgresql_is_given_to_another_worker(state_postgres: str) -> None:
    async def story(world: World) -> None:
        await world.execute("DELETE FROM jobs")
        short = WorkQueue(world.database, world.clock, world.bell, lease=0.2)
        await add(world, 1)
        (lost,) = await short.claim("silent", 1)
        assert await short.claim("other", 1) == []
        await asyncio.sleep(0.3)
        (work,) = await short.claim("other", 1)
        assert (work.job, work.attempt) == (lost.job, lost.attempt + 1)
        assert await short.renew([lost]) == set()

    play(state_postgres, story)


def test_no_lease_runs_out_in_the_one_process_that_has_a_sqlite_file(tmp_path: object) -> None:
    async def story(world: World) -> None:
        await add(world, 1)
        assert len(await world.queue.claim("slow", 1)) == 1
        world.clock.now += 10 * 365 * 86400
        assert await world.queue.claim("other", 1) == []

    play(f"sqlite:///{tmp_path}/database.sqlite", story)


def test_a_clock_that_was_set_back_does_not_hold_jobs_for_a_year(tmp_path: object) -> None:
    async def story(world: World) -> None:
        await add(world, 1)
        world.clock.now -= 365 * 86400
        assert len(await world.queue.claim("worker", 1)) == 1

    play(f"sqlite:///{tmp_path}/database.sqlite", story)


def test_there_is_one_sweep_however_many_processes_start(database_url: str) -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.queue.start() for _ in range(5)))
        assert await world.execute("SELECT kind, state FROM jobs") == [("sweep", "waiting")]
        (work,) = await world.queue.claim("worker", 5)
        assert work.task == SweepTask()
        await world.queue.start()
        assert await world.execute("SELECT count(*) FROM jobs") == [(1,)]
        assert (await world.jobs.status()).running == 0

    play(database_url, story)


def test_a_scrub_that_has_not_ended_is_answered_again(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.datasets.create(world.admin, DatasetRequest(name="raw"))
        first = await world.jobs.scrub(world.admin, ScrubRequest(dataset="raw"))
        assert (await world.jobs.scrub(world.admin, ScrubRequest(dataset="raw"))).job == first.job
        assert (await world.jobs.scrub(world.admin, ScrubRequest())).job != first.job
        assert first.result["checked"] == 0
        writer = Principal(2, "writer", frozenset(["write"]))
        with pytest.raises(Denied):
            await world.jobs.scrub(writer, ScrubRequest())
        with pytest.raises(NotFound):
            await world.jobs.scrub(writer, ScrubRequest(dataset="nothing"))
        with pytest.raises(NotFound):
            await world.jobs.job(world.admin, 999_999)

    play(database_url, story)


def test_jobs_that_ended_are_deleted_after_a_while_and_numbers_never_come_back(database_url: str) -> None:
    async def story(world: World) -> None:
        (old,) = await add(world, 1)
        (work,) = await world.queue.claim("worker", 1)
        await world.queue.settle([Settlement(work.job, work.attempt, "done")])
        assert await world.sweep.prune() == 0
        await world.execute("UPDATE jobs SET updated = 0")
        assert await world.sweep.prune() == 1
        assert (await add(world, 2))[0] > old

    play(database_url, story)
