"""Scrubs: which copies are to be read again, and what was found."""

from collections.abc import Sequence
from typing import Literal

from dray.clock import Clock
from dray.core.bell import EVENTS, Bell
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.queue import ScrubTask
from dray.model.values import Proof, Value
from dray.state import scrubbing
from dray.state.database import Connection, Database
from dray.state.scrubbing import Copy

Verdict = Literal["verified", "corrupt", "lost", "unread"]


class StoredCopy(Value, frozen=True):
    """A copy to be read again, where it is and what it has to be."""

    copy: int
    file: int
    store: str
    location: RemotePath
    tag: str
    size: int
    checksum: Checksum
    state: str
    current: bool
    mtime_ns: int | None


class Finding(Value, frozen=True):
    """What reading a copy again showed; ``proof`` when it is as it has to be."""

    copy: StoredCopy
    verdict: Verdict
    reason: str = ""
    proof: Proof | None = None

    @property
    def is_damage(self) -> bool:
        """Whether the copy is not what it has to be."""
        return self.verdict in ("corrupt", "lost")


class Scrubs:
    """Reads and writes what a scrub needs of the copies in all stores."""

    def __init__(self, database: Database, clock: Clock, bell: Bell) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell

    async def page(self, task: ScrubTask) -> list[StoredCopy]:
        """Return the next copies: a batch, or about a GiB of them, whichever is less."""
        found = await self._database.read(lambda connection: scrubbing.page(connection, task.after, task.dataset))
        return [_stored(copy) for copy in found]

    async def others(self, copy: StoredCopy) -> list[StoredCopy]:
        """Return verified copies of the same file in other stores."""
        found = await self._database.read(lambda connection: scrubbing.others(connection, copy.file, copy.copy))
        return [_stored(other) for other in found]

    async def begin_repair(self, copy: StoredCopy) -> bool:
        """Note that a damaged copy is being written again; False when it is not damaged any more."""
        now = self._clock.wall()
        return await self._database.write(
            lambda connection: scrubbing.begin_repair(connection, copy.copy, copy.state, now)
        )

    async def record(self, findings: Sequence[Finding]) -> None:
        """Record what was found; copies that changed meanwhile are left as they are."""
        await self._database.write(lambda connection: self._record(connection, findings))
        self._bell.ring(EVENTS)

    def _record(self, connection: Connection, findings: Sequence[Finding]) -> None:
        now = self._clock.wall()
        for state in ("corrupt", "lost"):
            reasons = {one.copy.copy: one.reason for one in findings if one.verdict == state}
            scrubbing.mark(connection, state, reasons, now)
        good = {one.copy.copy: one.proof for one in findings if one.proof}
        scrubbing.confirm(connection, good, now)


def _stored(copy: Copy) -> StoredCopy:
    return StoredCopy(
        copy=copy.id,
        file=copy.file,
        store=copy.store,
        location=RemotePath(f"{copy.dataset}/{copy.path}"),
        tag=copy.tag,
        size=copy.size,
        checksum=Checksum.parse(copy.checksum),
        state=copy.state,
        current=copy.current,
        mtime_ns=copy.mtime_ns,
    )
