"""A file's turn: what the journal gives out to be sent, and what it is told when that ended. Blocks."""

import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from dray.agent.journal import Ended, Journal, Queued, Seen
from dray.agent.look import Looker
from dray.agent.outbox import keep
from dray.errors import DrayError
from dray.fs import Folder
from dray.model.names import RemotePath
from dray.model.parts import plan_batches
from dray.model.schedule import after_failure
from dray.model.values import Arrived, Limits, OnExists, Outcome
from dray.moving.digest import version_of
from dray.moving.source import Item
from dray.moving.walk import source_of


@dataclass(frozen=True, slots=True)
class Flight:
    """One file on its way."""

    queued: Queued
    item: Item
    mode: int = 0

    def arrived(self, outcome: Outcome) -> Arrived:
        """Return what may be announced of it."""
        item = self.item
        return Arrived(str(item.path), item.origin, item.size, str(outcome.checksum), item.mtime_ns or 0, self.mode)


@dataclass(frozen=True, slots=True)
class Landed:
    """How one file ended; ``excused`` when the destination failed and not the file."""

    flight: Flight
    outcome: Outcome
    excused: bool = False
    luck: float = 0.5


@dataclass(slots=True)
class Claimed:
    """A batch that begins its way, or nothing; ``missed`` says that rows were found changed instead."""

    flights: list[Flight] = field(default_factory=list)
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Turns:
    """Gives out files of one hot directory and takes back how they ended.

    ``host`` tells machines apart. With ``announces`` what arrived is kept until it is announced.
    """

    looker: Looker
    host: str
    on_exists: OnExists = "version"
    announces: bool = False

    def claim(self, journal: Journal, limits: Limits) -> Claimed:
        """Mark one batch as being on its way; files that are not what was queued settle anew or are closed."""
        clock = self.looker.clock
        waiting = journal.waiting(clock.wall())
        batch = next(plan_batches(waiting, lambda queued: queued.seen.size, limits), [])
        with ExitStack() as folders:
            opened = _Folders(self.looker, folders, {})
            flights = [self._flight(queued, opened) for queued in batch]
        claimed = Claimed([flight for flight in flights if flight is not None])
        taken = {flight.queued.key for flight in claimed.flights}
        changed = [queued.key for queued in batch if queued.key not in taken]
        claimed.missed = bool(changed)
        journal.settle(changed, clock.monotonic())
        journal.send(taken)
        return claimed

    def _flight(self, queued: Queued, folders: "_Folders") -> Flight | None:
        """Return what is sent, unless the file is another version by now."""
        folder = folders.open(queued.key.folder)
        found = folder.stat(queued.key.name) if folder is not None else None
        if found is None or Seen.of(found) != queued.seen:
            return None
        version, origin = version_of(found), queued.key.path
        source = source_of(self.host, self.looker.root.path, origin)
        path = RemotePath(self.looker.remote(queued.key))
        item = Item(path, version.size, version.token(), origin, source, self.on_exists, version.mtime_ns)
        return Flight(queued, item, stat.S_IMODE(found.st_mode))

    def end(self, journal: Journal, landed: Sequence[Landed]) -> list[Ended]:
        """Record how a batch ended and return what became of each file."""
        clock = self.looker.clock
        with ExitStack() as stack:
            folders = _Folders(self.looker, stack, {})
            ends = [self._checked(one, self._ended(one), folders) for one in landed]
        journal.again([end.key for end in ends if end.state == "settling"])
        journal.end(ends, clock.monotonic())
        if self.announces:
            keep(journal, [one.flight.arrived(one.outcome) for one in landed if one.outcome.error is None])
        return ends

    def back(self, journal: Journal, flights: Sequence[Flight]) -> None:
        """Queue files again whose sending broke off without an outcome."""
        now = self.looker.clock.wall()
        rows = (flight.queued for flight in flights)
        journal.end(
            [Ended(row.key, "queued", "was interrupted", now, row.attempt, row.tried) for row in rows],
            self.looker.clock.monotonic(),
        )

    def _ended(self, landed: Landed) -> Ended:
        """Decide what becomes of a file; a failure of the destination does not count against it."""
        queued, outcome, now = landed.flight.queued, landed.outcome, self.looker.clock.wall()
        if outcome.error is None:
            tag = outcome.proof.tag if outcome.proof else ""
            return Ended(queued.key, "delivered", checksum=str(outcome.checksum), tag=tag)
        reason, tried = str(outcome.error), queued.tried or now
        if landed.excused:
            return Ended(queued.key, "queued", reason, now, queued.attempt, queued.tried)
        error = outcome.error if isinstance(outcome.error, DrayError) else DrayError(reason)
        after = after_failure(error, queued.attempt + 1, tried, now, landed.luck)
        return Ended(queued.key, after.state, reason, now + after.seconds, queued.attempt + 1, tried)

    def _checked(self, landed: Landed, end: Ended, folders: "_Folders") -> Ended:
        """Let a file settle anew that failed but is another one, or none, by now."""
        if end.state == "failed" and self._flight(landed.flight.queued, folders) is None:
            return end._replace(state="settling")
        return end


@dataclass(frozen=True, slots=True)
class _Folders:
    looker: Looker
    stack: ExitStack
    opened: dict[str, Folder | None]

    def open(self, path: str) -> Folder | None:
        if path not in self.opened:
            try:
                self.opened[path] = self.stack.enter_context(self.looker.root.folder(path))
            except OSError:
                self.opened[path] = None
        return self.opened[path]
