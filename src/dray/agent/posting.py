"""A broker as destination: files stay where they are, and are announced for senders elsewhere to take them."""

import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from dray.agent.announce import Voice
from dray.clock import Clock
from dray.errors import DrayError, Refused
from dray.messaging.publisher import Publisher
from dray.messaging.v03 import SECOND
from dray.model.values import Arrived, Change, Claim, Entry, Landing, Limits, Proof, Receipt, Ref, Staged
from dray.threads import in_thread
from dray.transports.base import Failure, Piece, Session

BY = "broker"
WHAT: dict[str, Literal["removed", "folder", "renamed", "linked"]] = {
    "remove": "removed",
    "rmdir": "removed",
    "mkdir": "folder",
    "rename": "renamed",
    "symlink": "linked",
}

STAYS = Refused("files stay where they are when they are only announced")


@dataclass(frozen=True, slots=True)
class Posting:
    """Announces the files below ``root`` instead of sending them."""

    publisher: Publisher
    voice: Voice
    root: str
    clock: Clock

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        """Open a session; the publisher connects when there is something to publish."""
        yield PostingSession(self)


@dataclass(slots=True)
class PostingSession:
    """Every file is where it stays already; it is verified once the broker has its announcement durably."""

    posting: Posting
    limits: Limits = field(default_factory=Limits)
    _landings: dict[Ref, Landing] = field(default_factory=dict)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield nothing: a broker does not say what was announced."""
        entries: tuple[Entry, ...] = ()
        for entry in entries:
            yield entry

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Answer that every file is there."""
        self._landings.update((Ref(landing.path), landing) for landing in landings)
        return [Staged(Ref(one.path), one.path, one.size, self.limits.piece, done=True) for one in landings]

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Refuse: nothing was asked for."""
        return [STAYS for _ in pieces]

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Refuse: nothing is held."""
        return [STAYS for _ in pieces]

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Announce files with what was read of them; the proof is the confirm of the broker."""
        arrived = await in_thread(None, lambda: [self._arrived(claim) for claim in claims])
        return [
            problem or Proof(claim.ref, claim.size, claim.checksum, "", BY, "service")
            for claim, problem in zip(claims, await self._announce(arrived), strict=True)
        ]

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Refuse: nothing was staged."""
        return [STAYS for _ in staged]

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Do nothing: nothing was staged."""
        return [None for _ in refs]

    async def change(self, changes: Sequence[Change]) -> Sequence[Failure | None]:
        """Announce what was done to names."""
        return await self._announce(
            [Arrived(one.path, one.path, 0, what=WHAT[one.what], target=one.target) for one in changes]
        )

    def _arrived(self, claim: Claim) -> Arrived:
        """Return what is announced of a file that is here. Blocks."""
        landing = self._landings.pop(claim.ref)
        try:
            mode = stat.S_IMODE(os.lstat(os.path.join(self.posting.root, landing.path)).st_mode)
        except OSError:
            mode = None
        return Arrived(landing.path, landing.path, claim.size, str(claim.checksum), landing.mtime_ns or 0, mode)

    async def _announce(self, arrived: Sequence[Arrived]) -> Sequence[DrayError | None]:
        """Publish; the first failure of several messages about one name is that of the name."""
        now = self.posting.clock.wall()
        groups = [list(self.posting.voice.messages(one, int(now * SECOND), now)) for one in arrived]
        answers: Iterator[DrayError | None] = iter(
            await self.posting.publisher.publish([message for group in groups for message in group])
        )
        taken = [[next(answers) for _ in group] for group in groups]
        return [next((answer for answer in group if answer is not None), None) for group in taken]
