"""The seam to a message broker: what has to exist there, what is published, what arrives."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from dray.errors import DrayError, UsageError
from dray.model.values import Value

Failure = DrayError
"""A failed message is an error value in its place of the answer; an exception means the whole call failed."""

PORTS = {"amqp": 5672, "amqps": 5671}
EXAMPLE = 'write for example "amqps://user@broker.example/"'


class Address(Value, frozen=True):
    """Where a broker is and how to get in; secrets are read from their files at each connection."""

    url: str
    password_file: str | None = None
    ca_file: str | None = None

    @property
    def user(self) -> str:
        """Return the account, which its queues and exchanges are named after."""
        return unquote(urlsplit(self.url).username or "guest")

    def checked(self) -> "Address":
        """Return this address, or raise UsageError for one that is none or that holds a password."""
        parts = urlsplit(self.url)
        if parts.scheme not in PORTS or not parts.hostname or not _has_port(parts):
            raise UsageError("not the address of a broker", item=self.url.partition("@")[2] or self.url, hint=EXAMPLE)
        if parts.password is not None:
            hint = "put it into a file of mode 0600 and name that by password_file"
            raise UsageError("the address of the broker holds a password", item=parts.hostname, hint=hint)
        return self

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or PORTS.get(parts.scheme, 0)}"


def _has_port(parts: SplitResult) -> bool:
    """Say whether the port is a number, or none is given."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


class Binding(Value, frozen=True):
    """A durable queue that gets what is published in an exchange under these routing keys."""

    queue: str
    exchange: str
    topics: tuple[str, ...] = ("#",)


class Topology(Value, frozen=True):
    """What has to exist before anything is published or consumed."""

    exchanges: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()


State = Literal["there", "made", "missing"]


class Declared(Value, frozen=True):
    """What became of one thing: it was ``there``, it was ``made``, or it is ``missing`` for a reason."""

    kind: Literal["exchange", "queue", "binding"]
    name: str
    state: State
    problem: DrayError | None = None


class Message(Value, frozen=True):
    """What is published; ``id`` stays the same when it is published again."""

    exchange: str
    topic: str
    body: bytes
    id: str


class Arrival(Value, frozen=True):
    """One message of a queue: ``number`` names it for its acknowledgement, ``by`` is the program that published it."""

    number: int
    topic: str
    body: bytes
    by: str = ""
    redelivered: bool = False


class Consumption(Protocol):
    """Messages of one queue, each given once as long as this lasts; what was not acknowledged comes again."""

    async def next(self) -> Sequence[Arrival]:
        """Wait for messages and return all there are; raises when no more will come. A cancelled call loses none."""

    async def acknowledge(self, taken: Sequence[int], refused: Sequence[int] = ()) -> None:
        """Let the broker forget messages, all that ``next`` gave so far; nobody could make sense of the refused."""


class Link(Protocol):
    """An open connection to a broker."""

    async def declare(self, topology: Topology) -> Sequence[Declared]:
        """Make what is not there, and say of each thing what became of it; repeating it changes nothing."""

    async def has_queue(self, name: str) -> bool:
        """Say whether a queue is there."""

    async def remove_queue(self, name: str) -> None:
        """Remove a queue with whatever is in it; one that is not there is removed already."""

    async def publish(self, messages: Sequence[Message]) -> Sequence[Failure | None]:
        """Publish messages; None for each that the broker has durably, in the order of the messages.

        A message that no queue takes is a failure. Without an answer a message may have arrived all the same.
        """

    async def consume(self, queue: str, ahead: int) -> Consumption:
        """Begin to take messages from a queue, at most ``ahead`` of them unacknowledged."""


class Broker(Protocol):
    """Configuration of a broker; ``connect`` makes a link of it."""

    def connect(self, name: str) -> AbstractAsyncContextManager[Link]:
        """Open a link, which the broker's administrator sees under ``name``."""
