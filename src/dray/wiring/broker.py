"""What a hot directory with a broker is put together from: a feed, announcements, or a broker as destination."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from dray.agent.announce import Announcer, Voice
from dray.agent.outbox import Announce
from dray.agent.posting import Posting
from dray.agent.send import Show
from dray.agent.told import Ear, Told
from dray.clock import Clock
from dray.config.settings import Broker as Section
from dray.errors import DrayError, UsageError
from dray.messaging import broker as seam
from dray.messaging.broker import Address, Binding, Declared, Link, Topology
from dray.messaging.publisher import Publisher, raise_missing
from dray.messaging.receiver import Receiver
from dray.messaging.v03 import EVERYTHING
from dray.model.values import Value
from dray.threads import in_thread
from dray.transports.base import Transport
from dray.wiring.queues import QueueNotes

BROKER = "broker"
"""As destination: nowhere; files are announced for others to take."""

INSTALL = "install dray[amqp], which brings aio-pika"


class Brokered(Value, frozen=True):
    """One hot directory that uses a broker; ``root`` is its real path, ``journal`` the file of its journal."""

    name: str
    root: str
    to: str
    journal: Path
    host: str
    settings: Section

    @property
    def address(self) -> Address:
        """Return where the broker is."""
        return Address(self.settings.url, self.settings.password_file, self.settings.ca_file).checked()

    def checked(self) -> "Brokered":
        """Return this, or raise UsageError for settings that make no sense together."""
        settings, where = self.settings, f"[hot.{self.name}.broker]"
        if not settings.exchange and not settings.post_exchange:
            raise UsageError("names neither exchange nor post_exchange", item=where, hint="docs/howto/broker.md")
        if self.to == BROKER and (settings.exchange or not settings.post_exchange):
            hint = "announce in post_exchange, or give another destination"
            raise UsageError(f'to = "{BROKER}" announces and takes nothing', item=where, hint=hint)
        if settings.post_exchange:
            self.base_url()
        self.address.checked()
        return self

    def base_url(self) -> str:
        """Return the address that ends where the paths of announcements begin."""
        if self.settings.post_url:
            return self.settings.post_url.rstrip("/")
        if self.to == BROKER:
            return f"file:{self.root}"
        return public_url(self.to, f"[hot.{self.name}.broker]")

    @property
    def notes(self) -> QueueNotes:
        """Return what is remembered of its queue."""
        return QueueNotes(self.journal, self.settings.queue or "")

    def binding(self) -> Binding:
        """Return what is consumed. Blocks."""
        queue = self.settings.queue or self.notes.name(f"q_{self.address.user}.dray.{self.name}")
        return Binding(queue, self.settings.exchange or "", tuple(self.settings.topics) or (EVERYTHING,))

    def posting(self) -> Topology:
        """Return what announcements need. Blocks.

        The queue that is named is made for those that will take from it, but only at first: one that vanishes later is
        left to them, for they look for what was in it.
        """
        exchange, queue = self.settings.post_exchange or "", self.settings.queue
        first = queue and self.to == BROKER and not self.notes.is_used()
        return Topology((exchange,), (Binding(queue, exchange, (EVERYTHING,)),) if queue and first else ())

    def topology(self) -> Topology:
        """Return everything that this hot directory needs at the broker. Blocks."""
        posting = self.posting() if self.settings.post_exchange else Topology()
        if not self.settings.exchange:
            return posting
        exchanges = tuple(dict.fromkeys((self.settings.exchange, *posting.exchanges)))
        return Topology(exchanges, (self.binding(),))


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of a broker that one run of an agent uses: each is None where the settings do not ask for it."""

    feed: Told | None = None
    announce: Announce | None = None
    destination: Transport | None = None


@asynccontextmanager
async def ends(hot: Brokered, clock: Clock, show: Show) -> AsyncIterator[Ends]:
    """Open what a hot directory needs; brokers are connected when there is something to do, and waited for."""
    hot.checked()
    broker = amqp(hot.address)
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(_feed(hot, broker, show)) if hot.settings.exchange else None
        if not hot.settings.post_exchange:
            yield Ends(feed)
            return
        publisher = await stack.enter_async_context(Publisher(broker, _prepare(hot), f"dray {hot.name}"))
        voice = Voice(hot.settings.post_exchange, hot.base_url(), hot.address.user)
        if hot.to == BROKER:
            yield Ends(feed, destination=Posting(publisher, voice, hot.root, clock))
        else:
            yield Ends(feed, Announcer(publisher, voice, clock, show.say).announce)


def _prepare(hot: Brokered) -> Callable[[Link], Awaitable[None]]:
    async def prepare(link: Link) -> None:
        topology = await in_thread(None, hot.posting)
        declared = await link.declare(topology)
        raise_missing([one for one in declared if one.kind == "exchange"])
        if topology.bindings and all(one.problem is None for one in declared):
            await hot.notes.there()

    return prepare


@asynccontextmanager
async def _feed(hot: Brokered, broker: seam.Broker, show: Show) -> AsyncIterator[Told]:
    binding = await in_thread(None, hot.binding)

    def waiting(error: DrayError | None, seconds: float) -> None:
        if error is None:
            show.watching()
        else:
            show.waiting(f"{error}; next try in {seconds:.0f} s")

    async with Receiver(broker, binding, hot.notes, waiting) as receiver:
        yield Told(receiver, Ear(hot.address.user, hot.root), show.say)


async def declare(hot: Brokered) -> list[Declared]:
    """Make what a hot directory needs at its broker, and say what became of each thing."""
    topology = await in_thread(None, hot.checked().topology)
    async with amqp(hot.address).connect(f"dray declare {hot.name}") as link:
        for binding in topology.bindings:
            if hot.settings.exchange and not await link.has_queue(binding.queue):
                await hot.notes.missing()
        declared = list(await link.declare(topology))
    if topology.bindings and all(one.problem is None for one in declared):
        await hot.notes.there()
    return declared


def own_queue(hot: Brokered) -> str | None:
    """Return the name of the queue that this hot directory has for itself alone, None where it has none. Blocks."""
    alone = hot.settings.exchange and not hot.settings.queue and hot.notes.is_used()
    return hot.binding().queue if alone else None


async def remove_queue(hot: Brokered, queue: str) -> None:
    """Remove a queue that nobody will ever take from again."""
    async with amqp(hot.address).connect(f"dray cleanup {hot.name}") as link:
        await link.remove_queue(queue)


def amqp(address: Address) -> seam.Broker:
    """Return the broker at an address; the library is an extra that not everybody has."""
    try:
        from dray.messaging.amqp import Amqp
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed", item=str(address), hint=INSTALL) from error
    return Amqp(address)


def public_url(to: str, where: str) -> str:
    """Return a destination as announcements name it, with its absolute directory."""
    if found := re.fullmatch(r"file://(/.*)", to):
        return f"file:{found[1].rstrip('/')}"
    if found := re.fullmatch(r"(sftp://[^/]+)//(.*)", to):
        return f"{found[1]}/{found[2].rstrip('/')}"
    if to.startswith(("http://", "https://")):
        return to.rstrip("/")
    hint = 'give post_url = "sftp://host/absolute/directory"'
    raise UsageError(f"others could not find files by the address {to}", item=where, hint=hint)
