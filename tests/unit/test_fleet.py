"""The fleet begins, changes and ends hot directories as settings and people want, and outlives whatever breaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from dray.agent import fleet as module
from dray.agent.control import Control
from dray.agent.fleet import Fleet, Source, summary
from dray.agent.notify import Notifier
from dray.agent.station import Plan
from dray.agent.tracker import Tracker
from dray.client.rate import Rate
from dray.clock import SystemClock
from dray.config.parse import parse_timetable
from dray.errors import Permanent, UsageError
from dray.model.agent import Pause

Run = Callable[[Tracker, Rate, asyncio.Event], Awaitable[object]]


class World:
    """Settings that a test changes, and what ran."""

    def __init__(self, folder: Path) -> None:
        self.control = Control(folder)
        self.control.prepare()
        self.plans: dict[str, Plan] = {}
        self.stamp = 0
        self.error: UsageError | None = None
        self.ran: list[str] = []
        self.rates: dict[str, Rate] = {}

    def add(
        self, name: str, *, settings: str = "", run: Run | None = None, vip: str | None = None, limit: str = "off"
    ) -> None:
        self.plans[name] = Plan(
            name, "/hot", "file:///there", 5, settings, parse_timetable(limit), run or self.watch(name), vip
        )
        self.stamp += 1

    def watch(self, name: str) -> Run:
        async def run(tracker: Tracker, rate: Rate, stop: asyncio.Event) -> None:
            self.ran.append(name)
            self.rates[name] = rate
            tracker.watching()
            await stop.wait()

        return run

    def load(self) -> Mapping[str, Plan]:
        if self.error is not None:
            raise self.error
        return dict(self.plans)

    def states(self) -> dict[str, str]:
        status = self.control.status()
        return {one.name: one.state for one in status.hot} if status else {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Fleet]:
        stop = asyncio.Event()
        fleet = Fleet(Source(self.load, lambda: self.stamp), self.control, Notifier({}), SystemClock())
        task = asyncio.create_task(fleet.run(stop))
        try:
            yield fleet
        finally:
            stop.set()
            await task

    async def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {self.states()}"
            await asyncio.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "TICK", 0.05)
    return World(tmp_path)


def test_settings_are_followed_and_only_what_they_change_is_begun_anew(world: World) -> None:
    async def story() -> None:
        world.add("a")
        world.add("b")
        async with world.running():
            await world.until(lambda: world.states() == {"a": "idle", "b": "idle"})
            world.add("b", settings="other")
            del world.plans["a"]
            world.add("c")
            await world.until(lambda: world.states() == {"b": "idle", "c": "idle"})
        assert world.states() == {}

    asyncio.run(story())
    assert sorted(world.ran) == ["a", "b", "b", "c"]


def test_a_bandwidth_limit_changes_while_it_runs(world: World) -> None:
    async def story() -> None:
        world.add("a")
        async with world.running():
            await world.until(lambda: world.states() == {"a": "idle"})
            assert world.rates["a"].limit is None
            world.add("a", limit="10M")
            await world.until(lambda: world.rates["a"].limit == 10 << 20)

    asyncio.run(story())
    assert world.ran == ["a"]


def test_wrong_settings_change_nothing_but_are_told(world: World) -> None:
    async def story() -> None:
        world.add("a")
        async with world.running():
            await world.until(lambda: world.states() == {"a": "idle"})
            world.error = UsageError("no sense")
            world.stamp += 1
            await world.until(lambda: (s := world.control.status()) and s.settings_error == "no sense")
            assert world.states() == {"a": "idle"}
            world.error = None
            world.stamp += 1
            await world.until(lambda: (s := world.control.status()) and not s.settings_error)

    asyncio.run(story())
    assert world.ran == ["a"]


def test_an_agent_does_not_begin_with_wrong_settings(world: World) -> None:
    async def story() -> None:
        world.error = UsageError("no sense")
        async with world.running():
            await asyncio.sleep(0.2)

    with pytest.raises(UsageError, match="no sense"):
        asyncio.run(story())


def test_what_breaks_is_begun_again_and_harms_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dray.agent.station.SOON", 0.01)
    failures: list[Exception] = [Permanent("the disk is odd"), ValueError("a defect")]

    async def breaks(tracker: Tracker, rate: Rate, stop: asyncio.Event) -> None:
        if failures:
            raise failures.pop(0)
        tracker.watching()
        await stop.wait()

    async def story() -> None:
        world.add("ill", run=breaks)
        world.add("well")
        async with world.running():
            await world.until(lambda: world.states() == {"ill": "idle", "well": "idle"})
            status = world.control.status()
            assert status is not None
            assert "unexpected failure: ValueError('a defect')" in status.hot[0].last_error

    asyncio.run(story())
    assert world.ran == ["well"]


def test_without_its_address_a_hot_directory_stands_by(world: World) -> None:
    async def story() -> None:
        world.add("here", vip="127.0.0.1")
        world.add("there", vip="192.0.2.7")
        async with world.running():
            await world.until(lambda: world.states() == {"here": "idle", "there": "standby"})

    asyncio.run(story())
    assert world.ran == ["here"]


def test_a_pause_is_kept_and_ends_by_itself(world: World) -> None:
    async def story() -> None:
        world.add("a")
        now = SystemClock().wall()
        pause = {"a": Pause(now, now + 0.5)}
        world.control.change(lambda wanted: msgspec.structs.replace(wanted, paused=pause))
        async with world.running():
            await world.until(lambda: world.states() == {"a": "paused"})
            assert world.ran == []
            await world.until(lambda: world.states() == {"a": "idle"})

    asyncio.run(story())


def test_one_line_says_how_everything_stands() -> None:
    tracker = Tracker("lab", "/hot", "sftp://cluster/in", 5, SystemClock())
    tracker.waiting("cluster is away")
    assert summary([tracker.status()], "x") == (
        "1 hot directories, 0 files delivered, 0 queued; lab waiting; settings not taken"
    )
