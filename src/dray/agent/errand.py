"""Errands: what is done to names at a destination without bytes, because it was done to them here."""

from dataclasses import dataclass

from dray.agent.journal import Ended, Queued
from dray.errors import Conflict, DrayError, Refused
from dray.model.names import RemotePath
from dray.model.retry import Persistence
from dray.model.schedule import OF_DESTINATION, after_failure
from dray.model.values import Arrived, Change

CHECKSUMS = {"mkdir": "folder", "symlink": "link"}
"""What the journal holds as checksum of names without bytes."""

TRIES = 3
"""Tries to remove a folder at the destination."""

UNABLE = Refused("this destination can neither delete nor make folders or links", hint="leave that out of `events`")


@dataclass(frozen=True, slots=True)
class Errand:
    """One change that is to be made for one name."""

    queued: Queued
    change: Change

    @property
    def removes(self) -> bool:
        """Say whether nothing of the name is left afterwards."""
        return self.change.what in ("remove", "rmdir")

    def arrived(self) -> Arrived:
        """Return what may be announced of it."""
        path, origin = str(self.change.path), self.queued.key.path
        if self.removes:
            return Arrived(path, origin, 0, what="removed")
        if self.change.what == "mkdir":
            return Arrived(path, origin, 0, what="folder")
        return Arrived(path, origin, 0, what="linked", target=self.change.target)


def _kept(queued: Queued, now: float) -> Ended:
    """Try a few times to remove a folder: what was in it may be on its way out."""
    if queued.attempt < TRIES:
        return Ended(queued.key, "queued", "waits until the folder is empty", now + 1.0, queued.attempt + 1, now)
    return Ended(queued.key, "gone", "stays at the destination, where more is in it", now)


def in_order(errands: list[Errand]) -> list[Errand]:
    """Return errands so that folders are made before and removed after what is in them."""
    made = [errand for errand in errands if not errand.removes]
    gone = [errand for errand in errands if errand.removes]
    return sorted(made, key=_depth) + sorted(gone, key=_depth, reverse=True)


def _depth(errand: Errand) -> int:
    return errand.change.path.count("/")


def removal(queued: Queued, path: RemotePath) -> Change:
    """Return what removes something that was delivered."""
    return Change("rmdir" if queued.checksum == CHECKSUMS["mkdir"] else "remove", path)


def finished(errand: Errand, error: DrayError | None, now: float, persistence: Persistence) -> Ended:
    """Decide what becomes of the row of an errand; a folder that others still use stays, which is no failure."""
    queued = errand.queued
    if errand.change.what == "rmdir" and isinstance(error, Conflict):
        return _kept(queued, now)
    if error is None and errand.removes:
        return Ended(queued.key, "gone", "deleted there, too", now)
    if error is None:
        return Ended(queued.key, "delivered", due=now, checksum=CHECKSUMS[errand.change.what])
    if isinstance(error, OF_DESTINATION):
        return Ended(queued.key, "queued", str(error), now, queued.attempt, queued.tried)
    tried = queued.tried or now
    after = after_failure(error, queued.attempt + 1, tried, now, 0.5, persistence)
    return Ended(queued.key, after.state, str(error), now + after.seconds, queued.attempt + 1, tried)
