"""Names that a broker tells of: messages of Sarracenia's v03 format as a feed of a hot directory."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dray.agent.feed import Fed
from dray.agent.journal import Key
from dray.errors import DrayError
from dray.messaging.broker import Arrival
from dray.messaging.receiver import Received, Receiver
from dray.messaging.v03 import Post, decode
from dray.model.settle import Notice

OURS = "dray"
"""Who publishes files only when they are finished; what others say is a hint to look at a file and let it rest."""


@dataclass(slots=True)
class Heard:
    """What a group of messages tells of."""

    received: Received
    names: dict[Key, Notice] = field(default_factory=dict)
    gone: list[Key] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def add(self, post: Post, notice: Notice) -> None:
        """Add what one message says.

        A rename says that the new name is there, which is sent whole; its old name is left alone at the destination,
        because deleting comes from a message that says so, never from one that brings a file.
        """
        if post.operation is not None and post.operation.remove:
            self.gone.append(key_of(post.path))
        else:
            self.names[key_of(post.path)] = notice


class Told:
    """A feed from a queue. Sizes, checksums and times of messages count for nothing: the file itself is looked at."""

    def __init__(self, receiver: Receiver, say: Callable[[str], None]) -> None:
        self._receiver, self._say = receiver, say
        self._heard: Heard | None = None

    async def next(self) -> Fed:
        """Wait for messages; those that could not be recorded are given again."""
        if self._heard is None:
            received = await self._receiver.next()
            self._heard = self._read(received)
        heard = self._heard
        return Fed(heard.names, heard.gone, heard.received.lost, heard)

    async def recorded(self, fed: Fed) -> None:
        """Acknowledge the messages."""
        heard, self._heard = self._heard, None
        if heard is not None:
            await self._receiver.acknowledge(heard.received, heard.refused)

    def _read(self, received: Received) -> Heard:
        heard = Heard(received)
        for arrival in received.arrivals:
            self._add(heard, arrival)
        return heard

    def _add(self, heard: Heard, arrival: Arrival) -> None:
        try:
            heard.add(decode(arrival.body), "closed" if arrival.by == OURS else "found")
        except DrayError as error:
            heard.refused.append(arrival.number)
            self._say(f"a message was refused: {error}")


def key_of(path: str) -> Key:
    """Return the row that a path below the top belongs to."""
    folder, _, name = path.rpartition("/")
    return Key(folder, name)
