"""Announces what arrived, as messages of Sarracenia's v03 format."""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import msgspec

from dray.agent.outbox import Announcement
from dray.clock import Clock
from dray.errors import DrayError, Unheard
from dray.messaging.broker import Message
from dray.messaging.publisher import Publisher
from dray.messaging.v03 import SECOND, Identity, Operation, Post, carrying, encode, topic
from dray.model.checksum import Checksum
from dray.model.values import Arrived, Value

FOLDER = "text/directory"

HOLD = 600.0
"""Seconds for which announcements are kept that nobody listens to."""

TRIES = 5
"""So often they are tried where some others of their batch were heard: then it is these that nobody wants."""


class Voice(Value, frozen=True):
    """As whom files are announced, and where they lie: ``base_url`` ends where their paths begin."""

    exchange: str
    base_url: str
    user: str

    def messages(self, arrived: Arrived, number: int, now: float) -> Iterator[Message]:
        """Yield the messages that say what became of one name.

        The id of a message is made of what it says, but for the time: when several agents find the same version
        delivered, or one of them does so again after a crash, whoever listens can tell. What says nothing about a
        content has its ``number`` besides, since it may come true again.
        """
        for bare in self._posts(arrived, int(now * SECOND)):
            post = carrying(bare, arrived.carried)
            timeless = encode(msgspec.structs.replace(post, posted_ns=0))
            told = f"{self.exchange}\0{0 if post.identity else number}\0".encode() + timeless
            yield Message(self.exchange, topic(post.path), encode(post), hashlib.sha256(told).hexdigest()[:32])

    def _posts(self, arrived: Arrived, now_ns: int) -> Iterator[Post]:
        """Yield the new name first; a rename is posted as a new file, for whoever does not have the old one."""
        match arrived.what:
            case "removed":
                yield self._bare(arrived.path, now_ns, Operation(remove=True))
            case "folder":
                yield self._bare(arrived.path, now_ns, Operation(directory=True), FOLDER)
            case "linked":
                yield self._bare(arrived.path, now_ns, Operation(link=arrived.target))
            case "renamed":
                yield self._stored(arrived, now_ns)
                yield self._bare(arrived.target, now_ns, Operation(remove=True))
            case "stored":
                yield self._stored(arrived, now_ns)

    def _bare(self, path: str, now_ns: int, operation: Operation, content_type: str | None = None) -> Post:
        return Post(self.base_url, path, now_ns, source=self.user, operation=operation, content_type=content_type)

    def _stored(self, arrived: Arrived, now_ns: int) -> Post:
        identity = Identity.of(Checksum.parse(arrived.checksum)) if arrived.checksum else None
        size = arrived.size if arrived.checksum else None
        mtime = arrived.mtime_ns or None
        return Post(self.base_url, arrived.path, now_ns, size, identity, mtime, arrived.mode, source=self.user)


class Announcer:
    """Announces batches of what arrived; those that were confirmed are not published again with their batch.

    What nobody listens to is kept for a while: a queue that was deleted is made again by whoever owns it. Then it is
    let go, sooner where others are listening, and that is told.
    """

    def __init__(self, publisher: Publisher, voice: Voice, clock: Clock, say: Callable[[str], None]) -> None:
        self._publisher, self._voice, self._clock, self._say = publisher, voice, clock, say
        self._confirmed: set[str] = set()
        self._tries = 0
        self._unheard_since: float | None = None

    async def announce(self, batch: Sequence[Announcement]) -> None:
        """Publish everything and wait for every confirm; raises why something is not with the broker."""
        now = self._clock.wall()
        made = [message for one in batch for message in self._voice.messages(one.arrived, one.number, now)]
        waiting = [message for message in made if message.id not in self._confirmed]
        answers = await self._publisher.publish(waiting)
        self._confirmed.update(message.id for message, answer in zip(waiting, answers, strict=True) if answer is None)
        self._judge([answer for answer in answers if answer is not None])
        self._confirmed.clear()
        self._tries, self._unheard_since = 0, None

    def _judge(self, failures: Sequence[DrayError]) -> None:
        """Raise what is worth another try, and tell of what is let go."""
        failure = next((error for error in failures if not isinstance(error, Unheard)), None)
        if failure is not None:
            raise failure
        if failures and self._may_be_heard():
            raise failures[0]
        if failures:
            self._say(f"{len(failures)} announcements were let go: {failures[0]}")

    def _may_be_heard(self) -> bool:
        self._tries += 1
        now = self._clock.monotonic()
        since = self._unheard_since = now if self._unheard_since is None else self._unheard_since
        return self._tries < TRIES if self._confirmed else now - since < HOLD
