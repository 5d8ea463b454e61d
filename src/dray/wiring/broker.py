"""What a hot directory with a broker is put together from: a feed, announcements, or a broker as destination."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dray.agent.announce import Announcer, Voice
from dray.agent.outbox import Announce
from dray.agent.posting import Posting
from dray.agent.told import Told
from dray.clock import Clock
from dray.config.settings import Broker as Section
from dray.errors import DrayError, UsageError
from dray.messaging import broker as seam
from dray.messaging.broker import Address, Binding, Declared, Topology
from dray.messaging.publisher import Publisher
from dray.messaging.receiver import Receiver
from dray.messaging.v03 import EVERYTHING
from dray.model.values import Value
from dray.threads import in_thread
from dray.transports.base import Transport
from dray.wiring.home import write_new

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

    def queue(self) -> tuple[str, bool]:
        """Return the name of the queue and whether it was ever declared; a name is chosen once. Blocks."""
        if self.settings.queue:
            return self.settings.queue, self._marker(self.settings.queue).exists()
        kept = self._marker()
        with suppress(FileExistsError):
            kept.parent.mkdir(0o700, parents=True, exist_ok=True)
            name = f"q_{self.address.user}.dray.{self.name}.{secrets.token_hex(4)}"
            write_new(kept, f"{name}\n".encode())
            return name, False
        return kept.read_text().strip(), True

    def remember(self, queue: str) -> None:
        """Note that a queue was declared, so that its absence will be a loss. Blocks."""
        with suppress(FileExistsError):
            write_new(self._marker(self.settings.queue or ""), f"{queue}\n".encode())

    def binding(self) -> tuple[Binding, bool]:
        """Return what is consumed, and whether it was ever declared. Blocks."""
        queue, known = self.queue()
        return Binding(queue, self.settings.exchange or "", tuple(self.settings.topics) or (EVERYTHING,)), known

    def posting(self) -> Topology:
        """Return what announcements need: those that nothing else is done with wait in the queue that is named."""
        exchange, queue = self.settings.post_exchange or "", self.settings.queue
        bindings = (Binding(queue, exchange, (EVERYTHING,)),) if queue and self.to == BROKER else ()
        return Topology((exchange,), bindings)

    def topology(self) -> Topology:
        """Return everything that this hot directory needs at the broker. Blocks."""
        posting = self.posting() if self.settings.post_exchange else Topology()
        if not self.settings.exchange:
            return posting
        exchanges = tuple(dict.fromkeys((self.settings.exchange, *posting.exchanges)))
        return Topology(exchanges, (self.binding()[0],))

    def _marker(self, queue: str = "") -> Path:
        digest = hashlib.sha256(queue.encode()).hexdigest()[:8] if queue else ""
        return self.journal.with_suffix(f".queue{digest}")


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of a broker that one run of an agent uses: each is None where the settings do not ask for it."""

    feed: Told | None = None
    announce: Announce | None = None
    destination: Transport | None = None


Say = Callable[[str], None]


@asynccontextmanager
async def ends(hot: Brokered, clock: Clock, say: Say) -> AsyncIterator[Ends]:
    """Open what a hot directory needs; brokers are connected when there is something to do, and waited for."""
    hot.checked()
    broker = amqp(hot.address)
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(_feed(hot, broker, say)) if hot.settings.exchange else None
        if not hot.settings.post_exchange:
            yield Ends(feed)
            return
        publisher = await stack.enter_async_context(Publisher(broker, hot.posting(), f"dray {hot.name}"))
        voice = Voice(hot.settings.post_exchange, hot.base_url(), hot.address.user)
        if hot.to == BROKER:
            yield Ends(feed, destination=Posting(publisher, voice, hot.root, clock))
        else:
            yield Ends(feed, Announcer(publisher, voice, clock, say).announce)


@asynccontextmanager
async def _feed(hot: Brokered, broker: seam.Broker, say: Say) -> AsyncIterator[Told]:
    binding, known = await in_thread(None, hot.binding)
    trouble = ""

    async def declared() -> None:
        nonlocal trouble
        trouble = ""
        await in_thread(None, hot.remember, binding.queue)

    def waiting(error: DrayError, seconds: float) -> None:
        nonlocal trouble
        if str(error) != trouble:
            say(f"waiting for the broker: {error}; next try in {seconds:.0f} s")
        trouble = str(error)

    async with Receiver(broker, binding, known, declared, waiting) as receiver:
        yield Told(receiver, hot.address.user, say)


async def declare(hot: Brokered) -> list[Declared]:
    """Make what a hot directory needs at its broker, and say what became of each thing."""
    topology = await in_thread(None, hot.checked().topology)
    async with amqp(hot.address).connect(f"dray declare {hot.name}") as link:
        declared = list(await link.declare(topology))
    if all(one.problem is None for one in declared) and topology.bindings:
        await in_thread(None, hot.remember, topology.bindings[0].queue)
    return declared


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
