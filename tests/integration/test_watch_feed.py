"""Names may come from a feed instead of the directory, and what arrived is announced, each at least once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dray.agent.feed import Fed
from dray.agent.journal import Journal, Key
from dray.agent.outbox import Announcement
from dray.agent.send import Lane
from dray.agent.watch import watch
from dray.errors import Unreachable
from tests.integration.hot import Hot, until


class Broker:
    """Tells of names and takes announcements; down for as long as ``down`` is set."""

    def __init__(self, hot: Hot, *feds: Fed) -> None:
        self.hot, self.feds = hot, list(feds)
        self.acknowledged: list[Fed] = []
        self.known_when_acknowledged: list[set[str]] = []
        self.announced: list[Announcement] = []
        self.down = False
        self.tried = 0

    async def next(self) -> Fed:
        if not self.feds:
            await asyncio.Event().wait()
        return self.feds.pop(0)

    async def recorded(self, fed: Fed) -> None:
        self.acknowledged.append(fed)
        self.known_when_acknowledged.append(set(await asyncio.to_thread(self.hot.states)))

    async def announce(self, batch: Sequence[Announcement]) -> None:
        self.tried += 1
        if self.down:
            raise Unreachable("the broker is away")
        self.announced += batch

    def lane(self) -> Lane:
        return replace(self.hot.lane(), announce=self.announce)


async def running(hot: Hot, broker: Broker, condition: object, feed: bool = True) -> None:
    hot.root.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    lane = broker.lane()
    agent = asyncio.create_task(watch(hot.directory(), lane, hot.told, stop, hot.clock, broker if feed else None))
    try:
        await until(lambda: agent.done() or condition())  # type: ignore[operator]
    finally:
        stop.set()
        await agent


def test_only_what_was_announced_is_sent_and_it_is_recorded_before_it_is_acknowledged(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    (hot.root / "sub").mkdir(parents=True)
    (hot.root / "sub" / "told.dat").write_bytes(b"told")
    (hot.root / "untold.dat").write_bytes(b"untold")
    broker = Broker(hot, Fed({Key("sub", "told.dat"): "closed"}, token=1))
    asyncio.run(running(hot, broker, lambda: hot.stored() == {"sub/told.dat": b"told"}))
    assert [fed.token for fed in broker.acknowledged] == [1]
    assert broker.known_when_acknowledged == [{"sub/told.dat"}]


def test_a_name_that_is_announced_before_it_can_be_seen_is_awaited(tmp_path: Path) -> None:
    hot = Hot(tmp_path)

    async def story() -> None:
        agent = asyncio.create_task(running(hot, broker, lambda: hot.stored() == {"late/a": b"here"}))
        await until(lambda: broker.acknowledged)
        (hot.root / "late").mkdir()
        (hot.root / "late" / "a").write_bytes(b"here")
        await agent

    broker = Broker(hot, Fed({Key("late", "a"): "closed"}))
    asyncio.run(story())
    assert hot.stored() == {"late/a": b"here"}
    assert len(broker.acknowledged) == 1


def test_what_arrived_is_announced_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    hot.root.mkdir()
    (hot.root / "a").write_bytes(b"12345")
    (hot.root / "a").chmod(0o640)
    broker = Broker(hot)
    asyncio.run(running(hot, broker, lambda: broker.announced, feed=False))
    (one,) = broker.announced
    found = (hot.root / "a").stat()
    assert (one.arrived.path, one.arrived.size, one.arrived.mode) == ("a", 5, 0o640)
    assert one.arrived.mtime_ns == found.st_mtime_ns
    assert one.arrived.checksum.startswith("sha256:")


def test_what_could_not_be_announced_is_announced_by_the_next_run(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    hot.root.mkdir()
    (hot.root / "a").write_bytes(b"12345")
    broker = Broker(hot)
    broker.down = True
    asyncio.run(running(hot, broker, lambda: broker.tried and hot.states() == {"a": "delivered"}, feed=False))
    assert broker.announced == []
    broker.down = False
    asyncio.run(running(hot, broker, lambda: broker.announced, feed=False))
    assert [one.arrived.path for one in broker.announced] == ["a"]
    assert hot.ask(lambda journal: journal.outbox(9)) == []


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with journal.transaction():
        journal.post([b"1", b"2"])
        journal.posted(2)
        journal.post([b"3"])
        assert journal.outbox(9) == [(3, b"3")]
    journal.close()
