"""Agents that work through a real RabbitMQ: every file is delivered once, whatever happens to the broker."""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import aio_pika
import pytest

from dray.errors import Unreachable
from dray.messaging.v03 import Identity, Operation, Post, encode, topic
from dray.model.checksum import Checksum
from dray.model.manner import EVENTS, Manner
from dray.model.values import Landing, Staged
from dray.transports.base import Failure
from dray.transports.wrappers import Wrapper
from tests.integration.brokered import Ear, Site, bound, delete_queue
from tests.integration.hot import published, until
from tests.servers.rabbitmq import ADMIN, RabbitMQ


def contents(count: int, size: int = 2000) -> dict[str, bytes]:
    return {f"d{number % 3}/f{number}": os.urandom(size) for number in range(count)}


def fill(root: Path, files: dict[str, bytes]) -> None:
    """Put files in as programs should: written beside, renamed in."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        part = root / f".{hashlib.sha256(path.encode()).hexdigest()[:12]}.tmp"
        part.write_bytes(data)
        part.rename(root / path)


async def arrived(store: Path, files: dict[str, bytes]) -> None:
    await until(lambda: store.exists() and dict(published(store)) == files)


def test_what_one_agent_announces_another_delivers_and_announces_with_its_digest(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    files = contents(5)

    async def story() -> Ear:
        ear = Ear(site, site.files, site.arrivals)
        await ear.declare()
        async with site.sender("one", root, store).running(), site.watcher(root).running():
            await bound(site)
            fill(root, files)
            await arrived(store, files)
            await ear.until(lambda: len(ear.messages) == 10)
        return ear

    ear = asyncio.run(story())
    assert len(ear.messages) == 10
    for message, post in zip(ear.messages, ear.posts, strict=True):
        digest = hashlib.sha256(files[post.path]).hexdigest()
        found = (root / post.path).stat()
        assert (post.size, post.identity) == (2000, Identity.of(Checksum("sha256", digest)))
        assert (post.mtime_ns, post.mode, post.source) == (found.st_mtime_ns, found.st_mode & 0o7777, "lab")
        assert message.routing_key == f"v03.{post.path.partition('/')[0]}"
        assert (message.content_type, message.delivery_mode) == ("application/json", 2)
        assert post.base_url == (f"file:{root}" if message.exchange == site.files else f"file:{store}")
    assert len({message.message_id for message in ear.messages}) == 10


STRANGE = (
    "a b",
    " ",
    "-rf",
    "#*.x/%23",
    "new\nline",
    "quote'\"",
    "back\\slash",
    "ü/日本",
    "tab\t",
    "x" * 255,
    "v03",
    "{}$(x)",
)


def test_names_of_every_kind_arrive_and_those_that_cannot_be_are_refused(broker: RabbitMQ, tmp_path: Path) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    files = {name: name.encode() for name in STRANGE}
    raw = os.fsdecode(b"caf\xe9")

    async def story() -> Ear:
        ear = Ear(site, site.arrivals)
        await ear.declare()
        sender = site.sender("one", root, store)
        async with sender.running(), site.watcher(root).running():
            fill(root, files)
            await arrived(store, files)
            await ear.until(lambda: set(ear.paths) == set(files))
            (root / raw).write_bytes(b"1")
            await publish(site, Post(f"file:{root}", raw, 0))
            await until(lambda: sender.hot.states().get(raw) == "refused")
        return ear

    assert len(asyncio.run(story()).messages) == len(files)


async def publish(site: Site, post: Post) -> None:
    """Announce as somebody else does."""
    async with await aio_pika.connect(site.broker.url(ADMIN)) as connection:
        exchange = await (await connection.channel()).get_exchange(site.files)
        await exchange.publish(aio_pika.Message(encode(post), content_type="application/json"), topic(post.path))


def test_what_a_message_says_of_the_content_is_not_believed(broker: RabbitMQ, tmp_path: Path) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    wrong = Identity.of(Checksum("sha512", "0f" * 64))

    async def story() -> Ear:
        ear = Ear(site, site.files, site.arrivals)
        await ear.declare()
        async with site.sender("one", root, store).running():
            await bound(site)
            fill(root, {"a": b"true"})
            post = Post(f"file:{root}", "a", 0, size=999, identity=wrong, mtime_ns=0, mode=0o777)
            await publish(site, post)
            await arrived(store, {"a": b"true"})
            await ear.until(lambda: len(ear.messages) == 2)
        return ear

    told = asyncio.run(story()).posts[-1]
    assert (told.size, told.identity) == (4, Identity.of(Checksum("sha256", hashlib.sha256(b"true").hexdigest())))


def test_deletions_folders_and_links_are_announced_and_forwarded_where_that_is_asked_for(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    everything = Manner(events=EVENTS, on_exists="replace")

    async def story() -> Ear:
        ear = Ear(site, site.files)
        await ear.declare()
        sender, watcher = site.sender("one", root, store), site.watcher(root)
        sender.hot.manner = watcher.hot.manner = everything
        async with sender.running(), watcher.running():
            await bound(site)
            fill(root, {"a": b"1", "b": b"2"})
            (root / "empty").mkdir()
            (root / "link").symlink_to("b")
            await until(lambda: (store / "a").exists() and (store / "b").exists())
            await until(lambda: (store / "empty").is_dir() and (store / "link").is_symlink())
            (root / "a").unlink()
            (root / "link").unlink()
            (root / "empty").rmdir()
            await until(lambda: sorted(path.name for path in store.iterdir() if path.name != ".dray") == ["b"])
        return await ear.hear()

    operations = [(post.path, post.operation) for post in asyncio.run(story()).posts if post.operation]
    assert ("a", Operation(remove=True)) in operations
    assert ("empty", Operation(directory=True)) in operations
    assert ("link", Operation(link="b")) in operations


def test_agents_that_share_a_queue_deliver_each_file_once(broker: RabbitMQ, tmp_path: Path) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    files = contents(300, 10)

    async def story() -> tuple[Ear, list[int]]:
        ear = Ear(site, site.arrivals)
        await ear.declare()
        senders = [site.sender(name, root, store) for name in ("one", "two", "three")]
        async with senders[0].running(), senders[1].running(), senders[2].running(), site.watcher(root).running():
            fill(root, files)
            await arrived(store, files)
            await ear.until(lambda: len(ear.messages) >= len(files))
        return await ear.hear(), [len(sender.hot.told.outcomes) for sender in senders]

    ear, shares = asyncio.run(story())
    assert sorted(ear.paths) == sorted(files)
    assert sum(shares) == len(files)


class Away(Wrapper):
    """A destination that takes nothing."""

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        raise Unreachable("the destination is away")


def test_an_agent_that_cannot_send_leaves_the_rest_to_the_others(
    broker: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dray.agent.agent.ENOUGH", 20)
    monkeypatch.setattr("dray.messaging.receiver.AHEAD", 20)
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    files = contents(200, 10)

    async def story() -> int:
        stuck, able = site.sender("stuck", root, store), site.sender("able", root, store)
        stuck.hot.wrap = Away

        def claimed() -> int:
            return len(stuck.hot.states()) + len(able.hot.states())

        async with stuck.running():
            async with site.watcher(root).running():
                fill(root, files)
                await until(lambda: stuck.hot.journal.exists() and len(stuck.hot.states()) >= 20)
                async with able.running():
                    await until(lambda: able.hot.journal.exists() and claimed() == len(files))
                    await until(lambda: set(able.hot.states().values()) == {"delivered"})
            return len(stuck.hot.states())

    assert asyncio.run(story()) < 100


def test_nothing_is_lost_when_the_broker_is_killed_again_and_again(broker: RabbitMQ, tmp_path: Path) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    batches = [{f"b{turn}/{path}": data for path, data in contents(60, 100).items()} for turn in range(3)]
    everything = {path: data for batch in batches for path, data in batch.items()}

    async def story() -> Ear:
        ear = Ear(site, site.arrivals)
        await ear.declare()
        async with site.sender("one", root, store).running(), site.watcher(root).running():
            for batch in batches:
                fill(root, batch)
                await asyncio.sleep(0.2)
                broker.kill9()
                await asyncio.to_thread(broker.start)
            await arrived(store, everything)
            await ear.until(lambda: set(ear.paths) == set(everything))
        return ear

    ear = asyncio.run(story())
    ids = {message.message_id for message in ear.messages}
    assert len(ids) == len(everything)


def test_a_queue_that_is_deleted_is_made_again_and_what_was_in_it_is_found(broker: RabbitMQ, tmp_path: Path) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    before, during = contents(20, 50), {f"x/{path}": data for path, data in contents(20, 50).items()}

    async def story() -> None:
        async with site.watcher(root).running():
            async with site.sender("one", root, store).running():
                fill(root, before)
                await arrived(store, before)
            fill(root, during)
            ear = Ear(site, site.files)
            await ear.declare()
            await until(lambda: site_posted(root))
            await delete_queue(broker, site.queue)
            async with site.sender("one", root, store).running():
                await arrived(store, before | during)
                await delete_queue(broker, site.queue)
                fill(root, {"last": b"1"})
                await arrived(store, before | during | {"last": b"1"})

    def site_posted(root: Path) -> bool:
        states = site.watcher(root).hot.states()
        return [states.get(path) for path in during] == ["delivered"] * len(during)

    asyncio.run(story())


def test_a_broker_that_is_absent_at_the_start_is_waited_for_and_its_reason_is_told(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    site, root, store = Site(broker, tmp_path), tmp_path / "hot", tmp_path / "store"
    broker.kill9()

    async def story() -> list[str]:
        sender = site.sender("one", root, store)
        async with sender.running(), site.watcher(root).running() as watcher:
            fill(root, {"a": b"1"})
            await until(lambda: sender.hot.told.reasons and watcher.hot.told.reasons)
            reasons = [sender.hot.told.reasons[-1], watcher.hot.told.reasons[-1]]
            await asyncio.to_thread(broker.start)
            await arrived(store, {"a": b"1"})
        return reasons

    reasons = asyncio.run(story())
    assert ["cannot be reached" in reason for reason in reasons] == [True, True]
