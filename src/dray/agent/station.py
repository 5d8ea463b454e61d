"""One hot directory under supervision: it is begun again whatever ends it, and rests while it must not run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dray.agent.send import first
from dray.agent.tracker import Tracker
from dray.client.rate import Rate
from dray.clock import Clock
from dray.config.parse import Timetable
from dray.errors import DrayError
from dray.model.agent import HotState

LOG = logging.getLogger("dray.agent")

SOON, SELDOM = 2.0, 60.0
"""Seconds before a hot directory that broke is begun again: at first, and at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A hot directory as the fleet knows it.

    ``run`` watches until the event; what it raises is tried again. ``settings`` differs whenever it would run
    otherwise; ``bwlimit`` alone is changed while it runs.
    """

    name: str
    path: str
    to: str
    senders: int
    settings: str
    bwlimit: Timetable
    run: Callable[[Tracker, Rate, asyncio.Event], Awaitable[object]]
    vip: str | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a hot directory must not run now."""

    state: HotState
    why: str = ""
    until: float | None = None


class Station:
    """Runs one plan until it is ended."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan = plan
        self.tracker = Tracker(plan.name, plan.path, plan.to, plan.senders, clock)
        self.rate = Rate(clock)
        self._bar: Bar | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._failures = 0

    def bar(self, bar: Bar | None) -> None:
        """Let it rest, or run (None); what is on its way ends in peace."""
        if bar != self._bar:
            self._bar = bar
            self._changed.set()
            if bar is not None:
                self._stop.set()

    def end(self) -> None:
        """Let it end for good, in peace."""
        self._ended = True
        self._changed.set()
        self._stop.set()

    async def run(self) -> None:
        """Run it again and again until it is ended."""
        while not self._ended:
            self._changed.clear()
            if self._bar is not None:
                self.tracker.become(self._bar.state, self._bar.why, self._bar.until)
                await self._changed.wait()
            else:
                await self._attempt()
        self.tracker.become("ended")

    async def _attempt(self) -> None:
        """Run it once; where it broke, wait."""
        self._stop = asyncio.Event()
        self.tracker.become("starting")
        try:
            await self.plan.run(self.tracker, self.rate, self._stop)
        except DrayError as error:
            await self._broken(str(error))
        except Exception as error:
            LOG.exception("[%s] a defect of Dray, please report it", self.plan.name)
            await self._broken(f"unexpected failure: {error!r}; the log has the details")
        else:
            self._failures = 0

    async def _broken(self, why: str) -> None:
        self._failures += 1
        seconds = min(SELDOM, SOON * 2.0 ** min(self._failures - 1, 10))
        self.tracker.become("broken", f"{why}; next try in {seconds:.0f} s")
        await first(self._changed.wait(), timeout=seconds)
