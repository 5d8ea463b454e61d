"""The queue of background work: what users see of it, and what the worker's loop takes from it."""

from collections.abc import Sequence

from dray.clock import Clock
from dray.core.access import Principal
from dray.core.bell import EVENTS, JOBS, Bell
from dray.core.showing import job_view
from dray.errors import NotFound
from dray.model.queue import ScrubTask, Settlement, SweepTask, Work, decode
from dray.model.values import Value
from dray.model.views import JobView, QueueStatus, ScrubRequest
from dray.state import catalogue, jobs
from dray.state.database import Connection, Database
from dray.state.jobs import Holder


class Totals(Value, frozen=True):
    """Counts for the status page: uploads by state, current files and their bytes."""

    uploads: dict[str, int]
    files: int
    bytes: int


class Jobs:
    """Queued work as the API shows it."""

    def __init__(self, database: Database, clock: Clock, bell: Bell) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell

    async def job(self, who: Principal, job: int) -> JobView:
        """Return one job, or raise NotFound."""
        who.require("read")
        found = await self._database.read(lambda connection: jobs.get(connection, job))
        if found is None:
            raise NotFound("there is no such job", item=f"job {job}", hint="jobs that ended are kept for a week")
        return job_view(found)

    async def status(self) -> QueueStatus:
        """Return how much waits and runs, since when, and why the next one waits."""
        load = await self._database.read(jobs.load)
        return QueueStatus(
            waiting=load.counts.get("waiting", 0),
            running=load.counts.get("running", 0),
            dead=load.counts.get("dead", 0),
            oldest=load.oldest,
            next_try=load.next.run_at if load.next else None,
            reason=load.next.reason if load.next else "",
        )

    async def totals(self) -> Totals:
        """Return the counts of uploads and files."""
        uploads, (files, size) = await self._database.read(
            lambda connection: (catalogue.upload_counts(connection), catalogue.totals(connection))
        )
        return Totals(uploads, files, size)

    async def scrub(self, who: Principal, request: ScrubRequest) -> JobView:
        """Queue a scrub of a dataset, or of everything; one that has not ended yet is answered.

        Needs ``admin`` for everything, ``write`` for one dataset.
        """
        if request.dataset is None:
            who.require("admin")
        else:
            who.require("write", request.dataset)
        view = await self._database.write(lambda connection: self._scrub(connection, who, request.dataset))
        self._bell.ring(JOBS)
        return view

    def _scrub(self, connection: Connection, who: Principal, dataset: str | None) -> JobView:
        if dataset is not None and catalogue.dataset(connection, dataset) is None:
            raise NotFound("there is no such dataset", item=dataset)
        for job in jobs.unfinished(connection, "scrub"):
            task = decode(job.task)
            if isinstance(task, ScrubTask) and task.dataset == dataset:
                return job_view(job)
        key = jobs.add(connection, ScrubTask(dataset), f"scrub/{who.token}", self._clock.wall(), "waits for a worker")
        made = jobs.get(connection, key)
        if made is None:
            raise NotFound("the job is gone again", item=f"job {key}")
        return job_view(made)


LEASE = 20.0
"""Seconds after which a job whose worker said nothing is given to another one."""


class WorkQueue:
    """The jobs as the worker's loop takes them; see ``model.queue.Queue``."""

    def __init__(self, database: Database, clock: Clock, bell: Bell, lease: float = LEASE) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell
        self.lease = lease

    async def start(self) -> None:
        """Take up again what ran when the last process ended, and see that the sweep comes round."""

        def begin(connection: Connection) -> None:
            now = self._clock.wall()
            if self._database.exclusive:
                jobs.rescue(connection, now, everything=True)
            jobs.add_once(connection, SweepTask(), now, "comes round by itself")

        await self._database.write(begin)

    async def claim(self, holder: str, limit: int) -> Sequence[Work]:
        """Take up to ``limit`` due jobs for ``holder``, a fair share from everybody who has some waiting."""

        # With the database to itself, a process knows that its own jobs run: no lease can run out.
        leases = not self._database.exclusive

        def take(connection: Connection) -> list[Work]:
            now = self._clock.wall()
            if leases:
                jobs.rescue(connection, now)
            return jobs.claim(connection, Holder(holder, self.lease), limit, now)

        if not await self._database.read(lambda connection: jobs.any_due(connection, self._clock.wall(), leases)):
            return []
        return await self._database.write(take)

    async def renew(self, works: Sequence[Work]) -> set[int]:
        """Hold claims for another lease and return the jobs that are still this holder's."""
        now = self._clock.wall()
        return await self._database.write(lambda connection: jobs.renew(connection, works, self.lease, now))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record how steps ended; those of a claim that was lost are ignored."""
        now = self._clock.wall()
        await self._database.write(lambda connection: jobs.settle(connection, settlements, "worker", now))
        self._bell.ring(EVENTS)
