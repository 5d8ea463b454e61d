"""A file's turn: what the journal gives out to be sent, and what it is told when that ended. Blocks."""

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec

from dray.agent.errand import Errand, finished, removal
from dray.agent.journal import NOTHING, Ended, Journal, Key, Queued, Seen, Sighting
from dray.agent.look import Looker
from dray.agent.outbox import keep
from dray.errors import DrayError
from dray.fs import Folder
from dray.model.manner import Manner
from dray.model.names import RemotePath, refusal
from dray.model.parts import plan_batches
from dray.model.schedule import after_failure
from dray.model.values import Arrived, Change, Limits, Outcome
from dray.moving.digest import version_of
from dray.moving.source import Item
from dray.moving.walk import source_of

HELD = 60.0
"""Seconds after which it is looked again whether so many deletions may be made."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One file on its way."""

    queued: Queued
    item: Item
    mode: int = 0
    renamed: str = ""

    def arrived(self, outcome: Outcome) -> Arrived:
        """Return what may be announced of it."""
        item = self.item
        stored = Arrived(str(item.path), item.origin, item.size, str(outcome.checksum), item.mtime_ns or 0, self.mode)
        return msgspec.structs.replace(stored, what="renamed", target=self.renamed) if self.renamed else stored


@dataclass(frozen=True, slots=True)
class Landed:
    """How one file ended; ``excused`` when the destination failed and not the file."""

    flight: Flight
    outcome: Outcome
    excused: bool = False
    luck: float = 0.5


@dataclass(slots=True)
class Claimed:
    """A batch that begins its way: files, errands, and renames that may spare sending files.

    ``missed`` are names that were found changed, ``closed`` what is not sent after all, ``targets`` the names at the
    destination of what goes.
    """

    flights: list[Flight] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)
    renames: list[Change] = field(default_factory=list)
    missed: list[Key] = field(default_factory=list)
    closed: list[Sighting] = field(default_factory=list)
    targets: dict[Key, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Say whether nothing was due."""
        return not (self.flights or self.errands or self.missed or self.closed)

    def fly(self, flight: Flight) -> None:
        """Add a file."""
        self.flights.append(flight)
        self.targets[flight.queued.key] = str(flight.item.path)

    def run(self, errand: Errand) -> None:
        """Add an errand."""
        self.errands.append(errand)
        self.targets[errand.queued.key] = str(errand.change.path)


@dataclass(frozen=True, slots=True)
class Turns:
    """Gives out files of one hot directory and takes back how they ended.

    ``host`` tells machines apart. With ``announces`` what arrived is kept until it is announced.
    """

    looker: Looker
    host: str
    announces: bool = False

    @property
    def manner(self) -> Manner:
        """Return how files are sent."""
        return self.looker.manner

    def claim(self, journal: Journal, limits: Limits) -> Claimed:
        """Mark one batch as being on its way; files that are not what was queued settle anew or are closed."""
        clock = self.looker.clock
        waiting = journal.waiting(clock.wall(), self.manner.order)
        batch = next(plan_batches(waiting, lambda queued: queued.seen.size, limits), [])
        claimed = Claimed()
        with ExitStack() as stack:
            taking = _Taking(self, journal, _Folders(self.looker, stack, {}), claimed)
            for queued in batch:
                taking.take(queued)
        journal.settle(claimed.missed, clock.monotonic())
        journal.put(claimed.closed)
        journal.send({key: self._differing(key, target) for key, target in claimed.targets.items()})
        return claimed

    def _differing(self, key: Key, target: str) -> str | None:
        return None if self.manner.layout.mirrors else target

    def end(self, journal: Journal, landed: Sequence[Landed]) -> list[Ended]:
        """Record how a batch ended and return what became of each file."""
        clock = self.looker.clock
        with ExitStack() as stack:
            folders = _Folders(self.looker, stack, {})
            ends = [self._checked(one, self._ended(one), folders) for one in landed]
        journal.again([end.key for end in ends if end.state == "settling"])
        journal.end(ends, clock.monotonic())
        self._keep(journal, [one.flight.arrived(one.outcome) for one in landed if one.outcome.error is None])
        return ends

    def _keep(self, journal: Journal, arrived: Sequence[Arrived]) -> None:
        if self.announces:
            keep(journal, arrived)

    def done(self, journal: Journal, errands: Sequence[Errand], answers: Sequence[DrayError | None]) -> list[Ended]:
        """Record how errands ended."""
        clock = self.looker.clock
        pairs = list(zip(errands, answers, strict=True))
        ends = [finished(errand, error, clock.wall(), self.manner.persistence) for errand, error in pairs]
        journal.end(ends, clock.monotonic())
        self._keep(journal, [errand.arrived() for errand, error in pairs if error is None])
        return ends

    def back(self, journal: Journal, waiting: Iterable[Queued]) -> None:
        """Queue again what broke off without an outcome."""
        now = self.looker.clock.wall()
        rows = [Ended(one.key, "queued", "was interrupted", now, one.attempt, one.tried) for one in waiting]
        journal.end(rows, self.looker.clock.monotonic())

    def _ended(self, landed: Landed) -> Ended:
        """Decide what becomes of a file; a failure of the destination does not count against it."""
        queued, outcome, now = landed.flight.queued, landed.outcome, self.looker.clock.wall()
        if outcome.error is None:
            tag = outcome.proof.tag if outcome.proof else ""
            return Ended(queued.key, "delivered", due=now, checksum=str(outcome.checksum), tag=tag)
        reason, tried = str(outcome.error), queued.tried or now
        if landed.excused:
            return Ended(queued.key, "queued", reason, now, queued.attempt, queued.tried)
        error = outcome.error if isinstance(outcome.error, DrayError) else DrayError(reason)
        persistence = self.manner.persistence
        after = after_failure(error, queued.attempt + 1, tried, now, landed.luck, persistence)
        return Ended(queued.key, after.state, reason, now + after.seconds, queued.attempt + 1, tried)

    def _checked(self, landed: Landed, end: Ended, folders: "_Folders") -> Ended:
        """Let a file settle anew that failed but is another one, or none, by now."""
        queued = landed.flight.queued
        found = folders.stat(queued.key)
        if end.state == "failed" and (found is None or Seen.of(found) != queued.seen):
            return end._replace(state="settling")
        return end


@dataclass(frozen=True, slots=True)
class _Taking:
    """Decides about the files of one batch."""

    turns: Turns
    journal: Journal
    folders: "_Folders"
    claimed: Claimed

    def take(self, queued: Queued) -> None:
        """Add one file to what is claimed, in whatever way it ends there."""
        manner, found = self.turns.manner, self.folders.stat(queued.key)
        path = self.turns.looker.remote(queued.key, queued.seen.mtime_ns)
        reason = refusal(path)
        if reason is not None:
            self._close(queued, "refused", reason)
        elif found is None and queued.checksum is not None and manner.deletes:
            self._remove(queued, RemotePath(path))
        elif found is not None and stat.S_ISDIR(found.st_mode) and queued.seen == NOTHING and manner.folders:
            self.claimed.run(Errand(queued, Change("mkdir", RemotePath(path))))
        elif found is None or Seen.of(found) != queued.seen:
            self.claimed.missed.append(queued.key)
        else:
            self._send(queued, RemotePath(path), found)

    def _remove(self, queued: Queued, path: RemotePath) -> None:
        """Delete a name there, unless so many go together that it looks like an accident: a disk that was unmounted."""
        count, most = self.journal.removals(), self.turns.manner.max_delete
        if count <= most:
            self.claimed.run(Errand(queued, removal(queued, path)))
            return
        reason, later = (
            f"{count:,} deletions wait, more than max_delete = {most:,}",
            self.turns.looker.clock.wall() + HELD,
        )
        self.claimed.closed.append(Sighting(queued.key, queued.seen, "queued", "found", 0.0, later, reason))

    def _send(self, queued: Queued, path: RemotePath, found: os.stat_result) -> None:
        reason = self._expired(found)
        other = None if reason else self._holder(queued, path)
        if reason is not None:
            self._close(queued, "skipped", reason)
        elif other is not None:
            self._close(queued, "refused", f"another file has its name at the destination: {other.path}")
        elif stat.S_ISLNK(found.st_mode):
            self.claimed.run(Errand(queued, Change("symlink", path, self.folders.link(queued.key))))
        else:
            self._fly(queued, path, found)

    def _fly(self, queued: Queued, path: RemotePath, found: os.stat_result) -> None:
        turns, version, origin = self.turns, version_of(found), queued.key.path
        source = source_of(turns.host, turns.looker.root.path, origin)
        exists = turns.manner.on_exists
        mode = stat.S_IMODE(found.st_mode)
        item = Item(path, version.size, version.token(), origin, source, exists, version.mtime_ns, mode=mode)
        self.claimed.fly(Flight(queued, item, mode))
        if turns.manner.renames and queued.checksum is None:
            self.claimed.renames += self._renames(queued, path)

    def _renames(self, queued: Queued, path: RemotePath) -> list[Change]:
        """Return how the file may already be at the destination, under a name that it had here before."""
        before = [key for key in self.journal.before(queued.seen) if key != queued.key and not self.folders.stat(key)]
        old = [self.turns.looker.remote(key, queued.seen.mtime_ns) for key in before]
        return [Change("rename", path, name) for name in old[:1] if name != path]

    def _expired(self, found: os.stat_result) -> str | None:
        expire = self.turns.manner.expire
        if expire is None or self.turns.looker.clock.wall() - found.st_ctime <= expire:
            return None
        return f"could not be sent within {expire:g} s"

    def _holder(self, queued: Queued, path: RemotePath) -> Key | None:
        """Return another file that goes, or went, to the same name; one that is not here any more makes way."""
        if self.turns.manner.layout.mirrors:
            return None
        mine = (key for key, target in self.claimed.targets.items() if target == path)
        other = next(mine, None) or self.journal.holder(path, queued.key)
        return other if other is not None and self.folders.stat(other) is not None else None

    def _close(self, queued: Queued, state: str, reason: str) -> None:
        self.claimed.closed.append(Sighting(queued.key, queued.seen, state, "found", 0.0, 0.0, reason))


@dataclass(frozen=True, slots=True)
class _Folders:
    looker: Looker
    stack: ExitStack
    opened: dict[str, Folder | None]

    def stat(self, key: Key) -> os.stat_result | None:
        folder = self._open(key.folder)
        return folder.stat(key.name) if folder is not None else None

    def link(self, key: Key) -> str:
        folder = self._open(key.folder)
        if folder is None:
            return ""
        at = folder.at(key.name)
        return os.readlink(at.name, dir_fd=at.folder)

    def _open(self, path: str) -> Folder | None:
        if path not in self.opened:
            try:
                self.opened[path] = self.stack.enter_context(self.looker.root.folder(path))
            except OSError:
                self.opened[path] = None
        return self.opened[path]
