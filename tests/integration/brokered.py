"""Agents that share a real broker, for tests, and an ear of their own at an exchange."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aio_pika

from dray.agent.send import Lane
from dray.agent.watch import watch
from dray.config.settings import Broker as Section
from dray.messaging.v03 import Post, decode
from dray.transports.base import Transport
from dray.transports.posix import Posix
from dray.wiring.broker import Brokered, ends
from tests.integration.hot import PATIENCE, Hot, Wrapped
from tests.servers.rabbitmq import ADMIN, RabbitMQ


@dataclass
class Site:
    """Names at one broker that belong to one test."""

    broker: RabbitMQ
    base: Path
    files: str = field(init=False)
    arrivals: str = field(init=False)
    queue: str = field(init=False)
    password: Path = field(init=False)

    def __post_init__(self) -> None:
        self.files, self.arrivals = self.broker.unique("xs"), self.broker.unique("xs")
        self.queue = self.broker.unique("q")
        self.password = self.broker.password_file(self.base)

    def section(self, **given: object) -> Section:
        return Section(url=self.broker.url(password=None), password_file=str(self.password), **given)  # type: ignore[arg-type]

    def watcher(self, root: Path) -> "Station":
        """An agent that watches and announces."""
        return Station(Hot(root.parent / "watcher"), root, self.section(post_exchange=self.files), "broker")

    def sender(self, name: str, root: Path, store: Path) -> "Station":
        """An agent that takes what is announced, and announces what arrived."""
        section = self.section(
            exchange=self.files, queue=self.queue, post_exchange=self.arrivals, post_url=f"file:{store}"
        )
        return Station(Hot(root.parent / name), root, section, f"file://{store}", store)


@dataclass
class Station:
    """One agent on a directory that others may use, too."""

    hot: Hot
    root: Path
    section: Section
    to: str
    store: Path | None = None
    place: Transport | None = None

    def brokered(self) -> Brokered:
        return Brokered("lab", str(self.root), self.to, self.hot.journal, self.hot.base.name, self.section)

    async def run(self, stop: asyncio.Event) -> None:
        hot, told = self.hot, self.hot.told
        async with ends(self.brokered(), hot.clock, told) as found:
            place = found.destination or self.place or Posix(self.store or hot.store)
            lane = Lane(Wrapped(place, hot.wrap), hot.parallel, announce=found.announce)
            directory = replace(hot.directory(), root=str(self.root), host=hot.base.name)
            await watch(directory, lane, told, stop, hot.clock, found.feed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Station"]:
        self.root.mkdir(parents=True, exist_ok=True)
        stop = asyncio.Event()
        task = asyncio.create_task(self.run(stop))
        try:
            yield self
        finally:
            stop.set()
            await task


class Ear:
    """A queue at exchanges that hears everything."""

    def __init__(self, site: Site, *exchanges: str) -> None:
        self.site, self.exchanges = site, exchanges
        self.name = site.broker.unique("q", "tap")
        self.messages: list[aio_pika.abc.AbstractIncomingMessage] = []

    @property
    def posts(self) -> list[Post]:
        return [decode(message.body) for message in self.messages]

    @property
    def paths(self) -> list[str]:
        return [post.path for post in self.posts]

    async def declare(self) -> None:
        """Make exchanges and queue, so that nothing is missed from now on."""
        async with await aio_pika.connect(self.site.broker.url(ADMIN)) as connection:
            await self._queue(await connection.channel())

    async def hear(self) -> "Ear":
        """Take what came since the last time."""
        async with await aio_pika.connect(self.site.broker.url(ADMIN)) as connection:
            queue = await self._queue(await connection.channel())
            while (message := await queue.get(fail=False, no_ack=True)) is not None:
                self.messages.append(message)
        return self

    async def until(self, enough: Callable[[], object]) -> None:
        """Go on hearing until it is enough; the limit only ends a test that hangs."""
        end = time.monotonic() + PATIENCE
        while not enough():
            assert time.monotonic() < end, f"waited in vain, heard {self.paths}"
            await self.hear()

    async def _queue(self, channel: aio_pika.abc.AbstractChannel) -> aio_pika.abc.AbstractQueue:
        queue = await channel.declare_queue(self.name, durable=True)
        for exchange in self.exchanges:
            await channel.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)
            await queue.bind(exchange, "#")
        return queue


async def delete_queue(broker: RabbitMQ, name: str) -> None:
    async with await aio_pika.connect(broker.url(ADMIN)) as connection:
        channel = await connection.channel()
        await channel.queue_delete(name)


async def waiting(broker: RabbitMQ, name: str) -> int:
    """Return how many messages of a queue nobody was given yet."""
    async with await aio_pika.connect(broker.url(ADMIN)) as connection:
        queue = await (await connection.channel()).declare_queue(name, passive=True)
        return queue.declaration_result.message_count or 0


async def bound(site: Site) -> None:
    """Wait until senders listen: what is announced before goes to ears alone."""
    async with await aio_pika.connect(site.broker.url(ADMIN)) as connection:
        end = time.monotonic() + PATIENCE
        while not await _exists(connection, site.queue):
            assert time.monotonic() < end, "nobody listens"


async def _exists(connection: aio_pika.abc.AbstractConnection, queue: str) -> bool:
    channel = await connection.channel()
    try:
        return (await channel.declare_queue(queue, passive=True)).declaration_result.consumer_count > 0
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return False
    finally:
        await channel.close()
