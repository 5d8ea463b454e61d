"""Names that a broker tells of: messages of Sarracenia's v03 format as a feed of a hot directory."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dray.agent.feed import Fed
from dray.agent.journal import Key
from dray.errors import DrayError
from dray.messaging.broker import Arrival
from dray.messaging.receiver import Received, Receiver
from dray.messaging.v03 import Post, carried, decode
from dray.model.settle import Notice
from dray.model.values import Value

OURS = "dray"
"""Who publishes files only when they are finished; what others say is a hint to look at a file and let it rest."""


class Ear(Value, frozen=True):
    """Who listens: the account at the broker, and the directory that its messages are about."""

    user: str
    root: str

    def below(self, post: Post) -> str:
        """Return where a file is in the directory: what a message calls ``/`` may be a folder above it."""
        full = f"{post.base_url.removeprefix('file:').rstrip('/')}/{post.path}"
        return full.removeprefix(f"{self.root}/") if full.startswith(f"{self.root}/") else post.path


@dataclass(slots=True)
class Heard:
    """What a group of messages tells of."""

    received: Received
    names: dict[Key, Notice] = field(default_factory=dict)
    gone: list[Key] = field(default_factory=list)
    carried: dict[Key, str] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)

    def add(self, post: Post, notice: Notice, ear: "Ear") -> None:
        """Add what one message says.

        A rename says that the new name is there, which is sent whole; its old name is left alone at the destination,
        because deleting comes from a message that says so, never from one that brings a file.
        """
        key = key_of(ear.below(post))
        if post.operation is not None and post.operation.remove:
            self.gone.append(key)
            return
        self.names[key] = notice
        self.carried[key] = carried(post, ear.user)


class Told:
    """A feed from a queue. Sizes, checksums and times of messages count for nothing: the file itself is looked at."""

    def __init__(self, receiver: Receiver, ear: Ear, say: Callable[[str], None]) -> None:
        self._receiver, self._ear, self._say = receiver, ear, say
        self._heard: Heard | None = None

    async def next(self) -> Fed:
        """Wait for messages; those that could not be recorded are given again."""
        if self._heard is None:
            received = await self._receiver.next()
            self._heard = self._read(received)
        heard = self._heard
        return Fed(heard.names, heard.gone, heard.received.lost, heard.carried, heard)

    async def pause(self) -> None:
        """Let the broker give to others what is here and not recorded."""
        self._heard = None
        await self._receiver.pause()

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
            heard.add(decode(arrival.body), "closed" if arrival.by == OURS else "found", self._ear)
        except DrayError as error:
            heard.refused.append(arrival.number)
            self._say(f"a message was refused: {error}")


def key_of(path: str) -> Key:
    """Return the row that a path below the top belongs to."""
    folder, _, name = path.rpartition("/")
    return Key(folder, name)
