"""Records what the worker proved about a batch, all of it in one transaction."""

from collections.abc import Sequence

from dray.clock import Clock
from dray.core.bell import EVENTS, VERDICTS, Bell
from dray.model.values import Proof, Value
from dray.state import publishing, uploads
from dray.state.database import Connection, Database
from dray.state.housekeeping import cleared
from dray.state.publishing import Accepted, Waiting
from dray.state.transition import Change


class Verdict(Value, frozen=True):
    """What a worker found about one upload while it held ``job`` under ``attempt``.

    With a proof the bytes are equal to the claim and published; with a reason the upload is rejected.
    """

    upload: int
    job: int
    attempt: int
    proof: Proof | None = None
    reason: str = ""


class Records:
    """Writes verdicts on uploads whose bytes are in ``store``."""

    def __init__(self, database: Database, clock: Clock, bell: Bell, store: str) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell
        self._store = store

    async def record(self, verdicts: Sequence[Verdict]) -> set[int]:
        """Record verdicts and return the uploads that have theirs now, also when it was recorded before.

        What was found under a claim that was lost since is left to whoever holds the job now.
        """
        recorded = await self._database.write(lambda connection: self._record(connection, verdicts))
        self._bell.ring(VERDICTS, recorded)
        self._bell.ring(EVENTS)
        return recorded

    def _record(self, connection: Connection, verdicts: Sequence[Verdict]) -> set[int]:
        held = publishing.held_jobs(connection, {one.job: one.attempt for one in verdicts})
        mine = {one.upload: one for one in verdicts if one.job in held}
        found = publishing.lock_waiting(connection, mine)
        fresh = [one for key, one in mine.items() if key in found and found[key].state == "uploaded"]
        self._accept(connection, [_accepted(found[one.upload], one.proof) for one in fresh if one.proof])
        rejected = Change("upload", ("uploaded",), "rejected", self._clock.wall(), "worker")
        uploads.end(connection, rejected, {one.upload: one.reason for one in fresh if not one.proof})
        ended = {key: found[key].state for key in found if found[key].state != "uploaded"}
        return {one.upload for one in fresh} | {key for key in ended if ended[key] == _state(mine[key])}

    def _accept(self, connection: Connection, accepted: Sequence[Accepted]) -> None:
        if accepted:
            change = Change("upload", ("uploaded",), "accepted", self._clock.wall(), "worker")
            publishing.accept(connection, change, accepted, self._store)

    async def cleared(self, keys: Sequence[int]) -> None:
        """Note that nothing is staged for these uploads any more."""
        await self._database.write(lambda connection: cleared(connection, keys))


def _state(verdict: Verdict) -> str:
    return "accepted" if verdict.proof else "rejected"


def _accepted(upload: Waiting, proof: Proof) -> Accepted:
    return Accepted(
        upload=upload.id,
        file=upload.file,
        dataset=upload.dataset,
        size=proof.size,
        checksum=str(proof.checksum),
        tag=proof.tag,
        by=proof.by,
        level=proof.level,
        replaces=upload.on_exists == "replace",
    )
