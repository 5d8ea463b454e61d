"""AMQP 0-9-1 brokers such as RabbitMQ: durable topic exchanges and queues, confirmed and mandatory messages."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.connection import Connection, make_url
from aiormq import exceptions as amqp

from dray.config.secrets import read_secret
from dray.errors import (
    Conflict,
    Denied,
    DrayError,
    NotFound,
    Temporary,
    Unauthenticated,
    Unheard,
    Unreachable,
    UsageError,
)
from dray.messaging.broker import Address, Arrival, Binding, Consumption, Declared, Link, Message, State, Topology
from dray.messaging.v03 import CONTENT_TYPE

HEARTBEAT = 10
"""Seconds; a broker that was cut off is given up after some three of these."""

PATIENCE = 15.0
"""Seconds to connect, and for each answer of a broker."""

CLOSING = 2.0
"""Seconds to part in peace."""

PROGRAM = "dray"

R = TypeVar("R")


class Amqp:
    """A broker that speaks AMQP 0-9-1."""

    def __init__(self, address: Address) -> None:
        self.address = address.checked()
        # Their warnings say what is raised anyhow, and in words that nobody knows.
        for name in ("aio_pika", "aiormq"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    @asynccontextmanager
    async def connect(self, name: str) -> AsyncIterator[Link]:
        """Open a link."""
        url, context = await asyncio.to_thread(_credentials, self.address)
        properties: dict[str, Any] = {"connection_name": name}
        connection = Connection(make_url(url), ssl_context=context, client_properties=properties)
        try:
            with translated(self.address):
                await connection.connect(timeout=PATIENCE)
            yield AmqpLink(connection, self.address)
        finally:
            with suppress(Exception):
                await asyncio.wait_for(connection.close(), CLOSING)


def _credentials(address: Address) -> tuple[str, ssl.SSLContext | None]:
    """Return the URL with its password, and whom to trust. Blocks."""
    parts = urlsplit(address.url)
    netloc = parts.netloc
    if address.password_file:
        password = _read(Path(address.password_file).expanduser(), read_secret)
        netloc = f"{quote(address.user, safe='')}:{quote(password, safe='')}@{netloc.rpartition('@')[2]}"
    url = urlunsplit(parts._replace(netloc=netloc, query=f"heartbeat={HEARTBEAT}"))
    if parts.scheme != "amqps":
        return url, None
    return url, _read(Path(address.ca_file).expanduser(), _trust) if address.ca_file else _trust()


def _read(path: Path, read: Callable[[Path], R]) -> R:
    try:
        return read(path)
    except FileNotFoundError as error:
        raise NotFound("there is no such file", item=str(path)) from error
    except OSError as error:
        raise UsageError(f"cannot be read: {error}", item=str(path)) from error


def _trust(file: Path | None = None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file)


class AmqpLink:
    """One connection; calls that fail leave it usable unless the connection itself broke."""

    def __init__(self, connection: AbstractConnection, address: Address) -> None:
        self._connection, self._address = connection, address
        self._publishing: aio_pika.abc.AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def declare(self, topology: Topology) -> list[Declared]:
        """Make what is not there; what may not be made but is there is good enough."""
        done = [await self._exchange(name) for name in topology.exchanges]
        for binding in topology.bindings:
            done += [await self._queue(binding.queue), await self._bind(binding)]
        return done

    async def has_queue(self, name: str) -> bool:
        """Say whether a queue is there; whoever may not know is told that it is."""
        problem = await self._tried(f"queue {name}", lambda channel: _declared_queue(channel, name, passive=True))
        return not isinstance(problem, NotFound)

    async def remove_queue(self, name: str) -> None:
        """Remove a queue; RabbitMQ does not mind one that is not there."""
        problem = await self._tried(f"queue {name}", lambda channel: channel.queue_delete(name, timeout=PATIENCE))
        if problem is not None:
            raise problem

    async def publish(self, messages: Sequence[Message]) -> list[DrayError | None]:
        """Publish side by side and wait for every confirm."""
        with translated(self._address):
            channel = await self._confirming()
            tasks = [asyncio.create_task(self._published(channel, message)) for message in messages]
            try:
                await _progressing(tasks)
                return [task.result() for task in tasks]
            finally:
                await _ended(tasks)

    async def consume(self, queue: str, ahead: int) -> Consumption:
        """Begin to take messages from a queue."""
        with translated(self._address, f"queue {queue}"):
            channel = await self._connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=ahead, timeout=PATIENCE)
            consumption = AmqpConsumption(channel, self._address, queue)
            await consumption.begin()
        return consumption

    async def _exchange(self, name: str) -> Declared:
        async def make(channel: aio_pika.abc.AbstractChannel, passive: bool) -> object:
            return await channel.declare_exchange(
                name, aio_pika.ExchangeType.TOPIC, durable=True, passive=passive, timeout=PATIENCE
            )

        return Declared("exchange", name, *await self._there_or_made(f"exchange {name}", make))

    async def _queue(self, name: str) -> Declared:
        async def make(channel: aio_pika.abc.AbstractChannel, passive: bool) -> object:
            return await _declared_queue(channel, name, passive=passive)

        return Declared("queue", name, *await self._there_or_made(f"queue {name}", make))

    async def _bind(self, binding: Binding) -> Declared:
        name = f"{binding.queue} <- {binding.exchange}"

        async def make(channel: aio_pika.abc.AbstractChannel) -> None:
            queue = await channel.get_queue(binding.queue, ensure=False)
            for topic in binding.topics:
                await queue.bind(binding.exchange, topic, timeout=PATIENCE)

        problem = await self._tried(name, make)
        return Declared("binding", name, "missing" if problem else "made", problem)

    async def _there_or_made(
        self, what: str, make: Callable[[aio_pika.abc.AbstractChannel, bool], Awaitable[object]]
    ) -> tuple[State, DrayError | None]:
        """Ask before making, so that a thing of other properties, or of somebody else, counts as there."""
        if await self._tried(what, lambda channel: make(channel, True)) is None:
            return "there", None
        problem = await self._tried(what, lambda channel: make(channel, False))
        return ("missing" if problem else "made"), problem

    async def _tried(
        self, what: str, work: Callable[[aio_pika.abc.AbstractChannel], Awaitable[object]]
    ) -> DrayError | None:
        """Do something on a channel of its own, because a refusal closes the channel; return why it failed."""
        try:
            with translated(self._address, what):
                async with self._connection.channel(publisher_confirms=False) as channel:
                    await work(channel)
        except Unreachable:
            raise
        except DrayError as problem:
            return problem
        return None

    async def _confirming(self) -> aio_pika.abc.AbstractChannel:
        async with self._opening:
            if self._publishing is None or self._publishing.is_closed:
                channel = self._connection.channel(publisher_confirms=True, on_return_raises=True)
                await channel.initialize(timeout=PATIENCE)
                self._publishing = channel
            return self._publishing

    async def _published(self, channel: aio_pika.abc.AbstractChannel, message: Message) -> DrayError | None:
        exchange = await channel.get_exchange(message.exchange, ensure=False)
        sent = aio_pika.Message(
            message.body,
            content_type=CONTENT_TYPE,
            content_encoding="utf-8",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message.id,
            app_id=PROGRAM,
        )
        try:
            with translated(self._address, f"exchange {message.exchange}"):
                await exchange.publish(sent, message.topic, mandatory=True)
        except Unreachable:
            raise
        except DrayError as problem:
            return problem
        return None


async def _declared_queue(channel: aio_pika.abc.AbstractChannel, name: str, *, passive: bool) -> object:
    return await channel.declare_queue(name, durable=True, passive=passive, timeout=PATIENCE)


async def _progressing(tasks: Sequence[asyncio.Task[DrayError | None]]) -> None:
    """Wait for all as long as some end; the first error ends it."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_EXCEPTION)
        if not done:
            raise TimeoutError(f"no confirm for {PATIENCE:.0f} s")
        for task in done:
            task.result()


async def _ended(tasks: Sequence[asyncio.Task[DrayError | None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class AmqpConsumption:
    """Messages that the broker pushes over one channel."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, address: Address, queue: str) -> None:
        self._channel, self._address, self._queue = channel, address, queue
        self._arrived: list[Arrival] = []
        self._something = asyncio.Event()
        self._end: DrayError | None = None

    async def begin(self) -> None:
        """Ask the broker to push, and hear when it stops: the queue may be deleted, the connection break."""
        inner = await self._channel.get_underlay_channel()
        inner.on_consumer_cancel_callbacks.add(lambda _: self._ended(NotFound("the queue was deleted")))
        self._channel.close_callbacks.add(lambda _, error: self._ended(_translation(self._address, "", error)))
        queue = await self._channel.get_queue(self._queue, ensure=False)
        await queue.consume(self._receive, timeout=PATIENCE)

    async def next(self) -> list[Arrival]:
        """Wait for messages; those that are here are given out even after the end."""
        await self._something.wait()
        arrived, self._arrived = self._arrived, []
        if self._end is None:
            self._something.clear()
        elif not arrived:
            raise self._end
        return arrived

    async def acknowledge(self, taken: Sequence[int], refused: Sequence[int] = ()) -> None:
        """Acknowledge; what is refused goes to a dead letter exchange where the queue has one."""
        with translated(self._address, f"queue {self._queue}"):
            channel = await self._channel.get_underlay_channel()
            for number in refused:
                await channel.basic_reject(number, requeue=False)
            if taken:
                await channel.basic_ack(max(taken), multiple=True)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        number = message.delivery_tag or 0
        topic, by = message.routing_key or "", message.app_id or ""
        self._arrived.append(Arrival(number, topic, message.body, by, bool(message.redelivered)))
        self._something.set()

    def _ended(self, error: DrayError) -> None:
        self._end = self._end or error.about(f"queue {self._queue}")
        self._something.set()


# The last three are how aiormq tells of a connection that ended at an odd moment.
FAILURES = (amqp.AMQPError, OSError, TimeoutError, asyncio.InvalidStateError, RuntimeError, StopAsyncIteration)


@contextmanager
def translated(address: Address, what: str = "") -> Iterator[None]:
    """Turn failures of AMQP and of the network into ours."""
    try:
        yield
    except DrayError:
        raise
    except FAILURES as error:
        raise _translation(address, what, error) from error
    except asyncio.CancelledError as error:
        # A connection that ends cancels who waits for its answers; only who was cancelled from outside is to end.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _translation(address, what, error) from error


_KINDS: tuple[tuple[type[BaseException], type[DrayError], str, str], ...] = (
    (ssl.SSLCertVerificationError, Denied, "the broker's certificate is not trusted", "set ca_file of the broker"),
    (
        amqp.ProbableAuthenticationError,
        Unauthenticated,
        "the broker does not let this account in",
        "check its password_file",
    ),
    (amqp.AuthenticationError, Unauthenticated, "the broker does not let this account in", "check its password_file"),
    (amqp.ConnectionNotAllowed, Denied, "the broker does not let this account into the virtual host", ""),
    (amqp.ChannelAccessRefused, Denied, "the broker does not allow it", "its names begin with q_USER and xs_USER"),
    (amqp.ChannelNotFoundEntity, NotFound, "it is not there", "dray declare makes it"),
    (amqp.ChannelPreconditionFailed, Conflict, "it is there with other properties", ""),
    (amqp.ChannelLockedResource, Conflict, "somebody else holds it alone", ""),
    (amqp.PublishError, Unheard, "no queue takes it", "start what listens there, or dray declare"),
    (amqp.DeliveryError, Temporary, "the broker could not take it", ""),
)
"""What each failure means; the first that fits. Everything else is a connection that broke."""


def _translation(address: Address, what: str, error: BaseException | None) -> DrayError:
    for known, ours, message, hint in _KINDS:
        if isinstance(error, known) or isinstance(error.__cause__ if error else None, known):
            return ours(message, item=what or str(address), hint=hint)
    reason = str(error or "").strip() or (type(error).__name__ if error else "it closed the connection")
    return Unreachable(f"the broker cannot be reached: {reason}", item=str(address))
