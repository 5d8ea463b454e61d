"""All hot directories of one agent: begun, changed and ended as settings and people want, and how they stand told."""

import asyncio
import importlib.metadata
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dray.agent.control import Control
from dray.agent.notify import Notifier
from dray.agent.send import first
from dray.agent.standby import has_address
from dray.agent.station import Bar, Plan, Station
from dray.clock import Clock
from dray.errors import DrayError
from dray.model.agent import AgentStatus, HotStatus, Wanted
from dray.threads import in_thread

LOG = logging.getLogger("dray.agent")

TICK = 1.0
"""Seconds between two looks at what is wanted."""

BRIEFLY = 0.25
"""Seconds between two times of telling how it stands while that changes."""

BEAT = 2.0
"""Seconds between two signs of life."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where plans come from: ``load`` reads them (blocks, raises UsageError), ``stamp`` differs when that is due."""

    load: Callable[[], Mapping[str, Plan]]
    stamp: Callable[[], object]


class Fleet:
    """The hot directories of one process."""

    def __init__(self, source: Source, control: Control, notifier: Notifier, clock: Clock) -> None:
        self._source, self._control, self._notifier, self._clock = source, control, notifier, clock
        self._stations: dict[str, Station] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wanted = Wanted()
        self._stamps: tuple[object, object] = (None, None)
        self._settings_error = ""
        self._held: dict[str, bool] = {}
        self._started, self._beaten = clock.wall(), 0.0
        self._told: tuple[object, ...] = ()
        self._news = asyncio.Event()
        self.reload = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch over everything until ``stop``, then let everything end in peace."""
        try:
            while not stop.is_set():
                await self._look()
                await self._beat()
                self._news.clear()
                if await first(stop.wait(), self.reload.wait(), self._news.wait(), timeout=TICK):
                    await first(stop.wait(), timeout=BRIEFLY)
            await self._drain()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._stations.clear()
            await self._write(())

    async def _drain(self) -> None:
        """Let everything end, with signs of life."""
        self._notifier.stopping("ending what is on its way")
        for station in self._stations.values():
            station.end()
        while any(not task.done() for task in self._tasks.values()):
            await asyncio.wait(self._tasks.values(), timeout=TICK)
            await self._beat()

    async def _look(self) -> None:
        """Look whether settings or wishes changed, and act on it."""
        asked = self.reload.is_set()
        self.reload.clear()
        stamps = await in_thread(None, lambda: (self._source.stamp(), self._control.stamp()))
        # What is wanted comes first, so that nothing begins that is to rest.
        if self._stamps == (None, None) or stamps[1] != self._stamps[1]:
            await self._read_wanted()
        if asked or stamps[0] != self._stamps[0]:
            await self._load()
        self._stamps = stamps
        await self._look_at_addresses()
        now = self._clock.wall()
        for name, station in self._stations.items():
            station.bar(self._bar(name, station.plan, now))
            station.rate.limit = _limit(station.plan, now)

    async def _read_wanted(self) -> None:
        try:
            self._wanted = await in_thread(None, self._control.wanted)
        except DrayError as error:
            LOG.error("what is wanted cannot be read, so it stays as it was: %s", error)

    async def _load(self) -> None:
        """Take new settings; wrong ones change nothing but what is said."""
        if self._stations:
            self._notifier.reloading(self._clock.monotonic())
        try:
            plans = await in_thread(None, self._source.load)
        except DrayError as error:
            LOG.error("the settings were not taken: %s", error)
            self._settings_error = str(error)
            if not self._stations:
                raise
            return
        self._settings_error = ""
        for name in [name for name, station in self._stations.items() if _differs(station.plan, plans.get(name))]:
            await self._end(name)
        for name, plan in plans.items():
            if name in self._stations:
                self._stations[name].plan = plan
            else:
                self._begin(plan)

    def _begin(self, plan: Plan) -> None:
        station = self._stations[plan.name] = Station(plan, self._clock)
        station.tracker.changed = self._news.set
        station.bar(self._bar(plan.name, plan, self._clock.wall()))
        self._tasks[plan.name] = asyncio.create_task(station.run())
        LOG.info("[%s] watching %s for %s", plan.name, plan.path, plan.to)

    async def _end(self, name: str) -> None:
        station, task = self._stations.pop(name), self._tasks.pop(name)
        station.end()
        while not task.done():
            await asyncio.wait([task], timeout=TICK)
            await self._beat()
        LOG.info("[%s] ended", name)

    async def _look_at_addresses(self) -> None:
        wanted = {station.plan.vip for station in self._stations.values() if station.plan.vip}
        if wanted:
            self._held = await in_thread(None, lambda: {address: has_address(address) for address in wanted})

    def _bar(self, name: str, plan: Plan, now: float) -> Bar | None:
        """Say why a hot directory must not run now, or None."""
        if name in self._wanted.stopped:
            return Bar("stopped", f"`dray start {name}` starts it")
        pause = self._wanted.pause_of(name, now)
        if pause is not None:
            return Bar("paused", f"`dray resume {name}` ends it", pause.until)
        if plan.vip and not self._held.get(plan.vip, False):
            return Bar("standby", f"{plan.vip} is not on this machine")
        return None

    async def _beat(self) -> None:
        """Give a sign of life, when it is due or something changed."""
        hot = tuple(station.tracker.status() for station in self._stations.values())
        told = (self._settings_error, *((one.name, one.state, one.why) for one in hot))
        due = self._clock.monotonic() - self._beaten >= min(BEAT, (self._notifier.watchdog or BEAT * 3) / 3)
        if not due and told == self._told:
            return
        self._beaten, self._told = self._clock.monotonic(), told
        await self._write(hot)
        ready = bool(hot) and all(one.state != "starting" for one in hot)
        self._notifier.alive(summary(hot, self._settings_error), ready)

    async def _write(self, hot: Sequence[HotStatus]) -> None:
        version = importlib.metadata.version("dray")
        status = AgentStatus(os.getpid(), version, self._started, self._clock.wall(), tuple(hot), self._settings_error)
        try:
            await in_thread(None, self._control.tell, status)
        except DrayError as error:
            LOG.warning("the status cannot be written: %s", error)


def summary(hot: Sequence[HotStatus], settings_error: str = "") -> str:
    """Return one line about everything, for a service manager."""
    queued, sent = sum(one.queued for one in hot), sum(one.sent for one in hot)
    text = f"{len(hot)} hot directories, {sent:,} files delivered, {queued:,} queued"
    ill = [f"{one.name} {one.state}" for one in hot if one.state in ("waiting", "broken", "paused", "stopped")]
    return "; ".join([text, *ill, *(["settings not taken"] if settings_error else [])])


def _differs(old: Plan, new: Plan | None) -> bool:
    return new is None or new.settings != old.settings


def _limit(plan: Plan, now: float) -> int | None:
    local = time.localtime(now)
    return plan.bwlimit.rate_at(local.tm_hour * 60 + local.tm_min)
