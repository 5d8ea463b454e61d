"""Housekeeping: answers kept for repeated requests, abandoned uploads, leftovers, old rows."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from dray.clock import Clock
from dray.core.access import Principal
from dray.core.bell import EVENTS, JOBS, VERDICTS, Bell
from dray.core.uploads import UploadTarget, target_of
from dray.errors import Busy, Refused
from dray.model.names import RemotePath, staged_name
from dray.model.queue import VerifyTask
from dray.model.values import Value
from dray.state import housekeeping, jobs, uploads
from dray.state.database import Connection, Database
from dray.state.housekeeping import Kept
from dray.state.transition import Change

DAY = 86400.0
BATCH = 256


class Answer(Value, frozen=True):
    """The answer to a POST as it went out."""

    status: int
    media_type: str
    body: bytes


class Repeats:
    """Answers of POSTs with an Idempotency-Key, kept for 24 hours for each token."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._busy: set[tuple[int, str]] = set()

    async def get(self, who: Principal, key: str, digest: str) -> Answer | None:
        """Return the answer kept for ``key``, or None. ``digest`` is that of operation and body; Refused if another."""
        kept = await self._database.read(lambda connection: housekeeping.answer(connection, who.token, key))
        if kept is None:
            return None
        if kept.digest != digest:
            raise Refused("this Idempotency-Key was used for another request", hint="use a new key for a new request")
        return Answer(kept.status, kept.media_type, kept.body)

    async def put(self, who: Principal, key: str, digest: str, answer: Answer) -> None:
        """Keep the first answer to ``key``; a later one changes nothing."""
        kept = Kept(digest, answer.status, answer.media_type, answer.body)
        now = self._clock.wall()
        await self._database.write(lambda connection: housekeeping.keep_answer(connection, who.token, key, kept, now))

    @asynccontextmanager
    async def alone(self, who: Principal, key: str) -> AsyncIterator[None]:
        """Hold ``key`` while its request is worked on; Busy for a second one at the same time in this process."""
        mine = (who.token, key)
        if mine in self._busy:
            raise Busy("a request with this Idempotency-Key is being worked on", hint="wait for its answer", after=1.0)
        self._busy.add(mine)
        try:
            yield
        finally:
            self._busy.discard(mine)


class Times(Value, frozen=True):
    """After how many seconds what is swept away."""

    abandoned: float = 7 * DAY
    answers: float = DAY
    done_jobs: float = 7 * DAY
    dead_jobs: float = 30 * DAY


class Sweep:
    """Decides what is left over; the handler that holds the store removes it."""

    def __init__(self, database: Database, clock: Clock, bell: Bell, times: Times | None = None) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell
        self._times = times or Times()

    async def fail_abandoned(self) -> int:
        """Fail up to a batch of pending uploads to which nothing came for long; return how many."""
        failed = await self._database.write(self._fail_abandoned)
        self._bell.ring(VERDICTS, failed)
        self._bell.ring(EVENTS)
        return len(failed)

    def _fail_abandoned(self, connection: Connection) -> set[int]:
        now = self._clock.wall()
        keys = housekeeping.abandoned(connection, now - self._times.abandoned, BATCH)
        reason = f"nothing came for {self._times.abandoned / DAY:g} days"
        change = Change("upload", ("pending",), "failed", now, "sweep")
        return uploads.end(connection, change, dict.fromkeys(keys, reason))

    async def tend(self) -> int:
        """Queue verification anew for uploads whose job ended without a verdict; return how many."""
        number = await self._database.write(self._tend)
        if number:
            self._bell.ring(JOBS)
        return number

    def _tend(self, connection: Connection) -> int:
        keys = housekeeping.unattended(connection, BATCH)
        if keys:
            job = jobs.add(
                connection, VerifyTask(tuple(keys)), "sweep", self._clock.wall(), "its job ended without a verdict"
            )
            housekeeping.assign(connection, keys, job)
        return len(keys)

    async def leftovers(self, after: int) -> list[UploadTarget]:
        """Return up to a batch of uploads, after the one numbered so, whose staged bytes have to be removed."""

        def look(connection: Connection) -> list[UploadTarget]:
            found = uploads.arriving(connection, housekeeping.leftovers(connection, after, BATCH))
            return [target_of(one) for _, one in sorted(found.items())]

        return await self._database.read(look)

    async def cleared(self, keys: Sequence[int]) -> None:
        """Note that nothing is staged for these uploads any more."""
        if keys:
            await self._database.write(lambda connection: housekeeping.cleared(connection, keys))

    async def orphans(self, names: Iterable[str]) -> list[str]:
        """Return which of these staged names belong to no upload that may still need them."""
        live = await self._database.read(housekeeping.staging)
        needed = {staged_name(RemotePath(f"{dataset}/{path}"), f"upload-{upload}") for dataset, path, upload in live}
        return [name for name in names if name not in needed]

    async def prune(self) -> int:
        """Delete kept answers and jobs that ended long ago; return how many."""
        return await self._database.write(self._prune)

    def _prune(self, connection: Connection) -> int:
        now, times = self._clock.wall(), self._times
        forgotten = housekeeping.forget_answers(connection, now - times.answers)
        return forgotten + jobs.prune(connection, now - times.done_jobs, now - times.dead_jobs)
