"""The AMQP link against a real RabbitMQ: declarations, confirms, queues that vanish, credentials and certificates."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dray.errors import Denied, DrayError, NotFound, Temporary, Unauthenticated, Unheard, Unreachable, UsageError
from dray.messaging.amqp import Amqp
from dray.messaging.broker import Address, Binding, Link, Message, Topology
from dray.messaging.publisher import Publisher
from dray.messaging.receiver import Received, Receiver
from dray.wiring.queues import QueueNotes
from tests.integration.brokered import delete_queue, waiting
from tests.integration.test_client_tls import Authority
from tests.servers.process import LOOPBACK
from tests.servers.rabbitmq import LAB, PASSWORD, RabbitMQ, rabbitmq


@pytest.fixture
def address(broker: RabbitMQ, tmp_path: Path) -> Address:
    return Address(broker.url(password=None), str(broker.password_file(tmp_path)))


@pytest.fixture
def binding(broker: RabbitMQ) -> Binding:
    return Binding(broker.unique("q"), broker.unique("xs"), ("v03.#",))


def everything(binding: Binding) -> Topology:
    return Topology((binding.exchange,), (binding,))


def linked(address: Address, story: Callable[[Link], Awaitable[object]]) -> object:
    async def run() -> object:
        async with Amqp(address).connect("test") as link:
            return await story(link)

    return asyncio.run(run())


def messages(binding: Binding, count: int, topic: str = "v03.a") -> list[Message]:
    return [Message(binding.exchange, topic, b"%d" % number, f"id{number}") for number in range(count)]


def test_what_is_missing_is_made_once_and_what_is_not_allowed_is_told(address: Address, binding: Binding) -> None:
    foreign = Topology(("forbidden", binding.exchange), (binding, Binding("forbidden", binding.exchange)))

    async def story(link: Link) -> list[list[tuple[str, str]]]:
        return [[(one.kind, one.state) for one in await link.declare(foreign)] for _ in range(2)]

    first, second = linked(address, story)  # type: ignore[misc]
    refused = [("queue", "missing"), ("binding", "missing")]
    assert first == [("exchange", "missing"), ("exchange", "made"), ("queue", "made"), ("binding", "made"), *refused]
    assert second == [("exchange", "missing"), ("exchange", "there"), ("queue", "there"), ("binding", "made"), *refused]


def test_messages_are_confirmed_in_order_and_one_that_no_queue_takes_is_told(
    address: Address, binding: Binding
) -> None:
    async def story(link: Link) -> tuple[list[object], list[bytes]]:
        await link.declare(everything(binding))
        sent = messages(binding, 3)
        answers = await link.publish([*sent[:2], *messages(binding, 1, "v02.a"), *sent[2:]])
        consumption = await link.consume(binding.queue, 10)
        came = await consumption.next()
        return [type(answer) for answer in answers], [one.body for one in came]

    assert linked(address, story) == ([type(None), type(None), Unheard, type(None)], [b"0", b"1", b"2"])


def test_what_was_not_acknowledged_comes_again_and_what_was_refused_does_not(
    address: Address, binding: Binding
) -> None:
    async def first(link: Link) -> None:
        await link.declare(everything(binding))
        await link.publish(messages(binding, 4))
        consumption = await link.consume(binding.queue, 3)
        came = list(await consumption.next())
        while len(came) < 3:
            came += await consumption.next()
        await consumption.acknowledge([came[0].number], [came[1].number])

    async def second(link: Link) -> dict[bytes, bool]:
        consumption = await link.consume(binding.queue, 10)
        came = list(await consumption.next())
        while len(came) < 2:
            came += await consumption.next()
        return {one.body: one.redelivered for one in came}

    linked(address, first)
    came = linked(address, second)
    assert isinstance(came, dict)
    assert came.keys() == {b"2", b"3"}
    assert came[b"2"]


def test_messages_that_are_here_are_given_out_though_their_queue_was_deleted(
    address: Address, binding: Binding, broker: RabbitMQ
) -> None:
    async def story(link: Link) -> list[bytes]:
        await link.declare(everything(binding))
        consumption = await link.consume(binding.queue, 10)
        await link.publish(messages(binding, 2))
        while await waiting(broker, binding.queue):
            pass
        await delete_queue(broker, binding.queue)
        came = [one.body for one in await consumption.next()]
        with pytest.raises(DrayError, match="deleted"):
            await consumption.next()
        return came

    assert linked(address, story) == [b"0", b"1"]


def publishing(address: Address, binding: Binding) -> Publisher:
    async def prepare(link: Link) -> None:
        await link.declare(everything(binding))

    return Publisher(Amqp(address), prepare, "test")


async def taken(receiver: Receiver) -> Received:
    received = await receiver.next()
    await receiver.acknowledge(received)
    return received


def test_a_receiver_makes_a_deleted_queue_again_and_says_that_something_may_be_lost(
    address: Address, binding: Binding, broker: RabbitMQ, tmp_path: Path
) -> None:
    waits: list[str] = []

    async def story() -> list[Received]:
        notes = QueueNotes(tmp_path / "journal.sqlite")
        async with (
            Receiver(Amqp(address), binding, notes, lambda error, _: waits.append(str(error))) as receiver,
            publishing(address, binding) as publisher,
        ):
            await publisher.publish(messages(binding, 1))
            found = [await taken(receiver)]
            assert not await notes.is_lost()
            await delete_queue(broker, binding.queue)
            found.append(await receiver.next())
            assert await notes.is_lost()
            await receiver.acknowledge(found[1])
            assert not await notes.is_lost()
            await publisher.publish(messages(binding, 1))
            return [*found, await taken(receiver)]

    before, lost, after = asyncio.run(story())
    assert ([one.body for one in before.arrivals], before.lost) == ([b"0"], False)
    assert (lost.arrivals, lost.lost) == ((), True)
    assert ([one.body for one in after.arrivals], after.lost) == ([b"0"], False)
    assert any("deleted" in wait for wait in waits)


def test_a_publisher_goes_on_after_the_broker_was_killed(address: Address, binding: Binding, broker: RabbitMQ) -> None:
    async def story() -> list[object]:
        async with publishing(address, binding) as publisher:
            await publisher.publish(messages(binding, 1))
            broker.kill9()
            with pytest.raises(Unreachable):
                await publisher.publish(messages(binding, 1))
            with pytest.raises(Unreachable):
                await publisher.publish(messages(binding, 1))
            await asyncio.to_thread(broker.start)
            return list(await publisher.publish(messages(binding, 5)))

    assert asyncio.run(story()) == [None] * 5


def test_a_broker_that_stands_still_is_given_up(
    address: Address, binding: Binding, broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dray.messaging.amqp.PATIENCE", 0.5)

    async def story() -> None:
        async with publishing(address, binding) as publisher:
            await publisher.publish(messages(binding, 1))
            os.killpg(broker.process.pid, 19)
            try:
                with pytest.raises(Unreachable, match="no confirm"):
                    await publisher.publish(messages(binding, 1))
            finally:
                os.killpg(broker.process.pid, 18)

    asyncio.run(story())


async def nothing(link: Link) -> None:
    """Only connect."""


def test_a_wrong_password_is_told_and_never_written_anywhere(
    broker: RabbitMQ, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = broker.password_file(tmp_path)
    secret.write_text("hunter2 / :@\n")
    with pytest.raises(Unauthenticated) as refused:
        linked(Address(broker.url(password=None), str(secret)), nothing)
    assert "hunter2" not in f"{refused.value!r} {refused.value} {refused.value.__cause__} {caplog.text}"


def test_a_password_that_others_can_read_is_not_used(broker: RabbitMQ, tmp_path: Path) -> None:
    secret = broker.password_file(tmp_path)
    secret.chmod(0o640)
    with pytest.raises(Denied, match="others may read"):
        linked(Address(broker.url(password=None), str(secret)), nothing)
    with pytest.raises(NotFound):
        linked(Address(broker.url(password=None), str(tmp_path / "none")), nothing)


@pytest.mark.parametrize(
    "url", ["http://lab@host/", "amqp:///", "lab@host", "amqp://lab@host:many/", f"amqp://{LAB}:{PASSWORD}@host/"]
)
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Amqp(Address(url))
    assert PASSWORD not in str(refused.value)


def test_encrypted_brokers_are_spoken_to_when_their_authority_is_trusted(tmp_path: Path) -> None:
    good, other = Authority(tmp_path, "IP:127.0.0.1"), Authority(tmp_path, "DNS:elsewhere.example")
    key = tmp_path / "IP:127.0.0.1.key"
    with rabbitmq(tls=(good.file, good.file, key)) as broker:
        secret, url = str(broker.password_file(tmp_path)), f"amqps://{LAB}@{LOOPBACK}:{broker.tls_port}/"
        binding = Binding("q_lab_tls", "xs_lab_tls", ("#",))

        async def story(link: Link) -> object:
            await link.declare(everything(binding))
            return await link.publish(messages(binding, 1))

        assert linked(Address(url, secret, str(good.file)), story) == [None]
        for ca in (None, str(other.file)):
            with pytest.raises(Denied, match="certificate is not trusted"):
                linked(Address(url, secret, ca), nothing)
        with pytest.raises(UsageError):
            linked(Address(url, secret, secret), nothing)
        with pytest.raises((Unreachable, Temporary)):
            linked(Address(f"amqps://{LAB}@{LOOPBACK}:{broker.port}/", secret, str(good.file)), nothing)
