"""What the agent is put together from: every hot directory of the settings, in one process."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from dray.agent.feed import Feed
from dray.agent.fleet import Fleet, Source
from dray.agent.notify import Notifier
from dray.agent.outbox import Announce
from dray.agent.process import MARK, began, boot, mark
from dray.agent.send import Lane, Show, first
from dray.agent.station import Plan
from dray.agent.watch import watch
from dray.client.address import Place
from dray.client.elsewhere import parse
from dray.client.rate import Rate
from dray.clock import Clock
from dray.config.load import Loaded
from dray.config.parse import Timetable
from dray.errors import DrayError, NotFound
from dray.model.agent import Record
from dray.moving.known import Sent
from dray.threads import in_thread
from dray.transports.accelerated import Accelerating
from dray.transports.base import Session, Transport
from dray.wiring.broker import Ends, ends
from dray.wiring.client import Options, Waiting, known
from dray.wiring.control import control
from dray.wiring.destinations import open_place
from dray.wiring.hot import Configured, configured

PATIENCE = 5.0
"""Seconds for which a call is made again before its files wait in the journal: stopping waits for it."""

EVERY = 5.0
"""Seconds between two tries to find a server."""


class Servers(Protocol):
    """Signs in to Dray servers as this user."""

    async def place(self, to: str) -> Place:
        """Return what an address names, or raise DrayError."""

    def dataset(self, to: str, options: Options, rate: Rate, waiting: Waiting) -> AbstractAsyncContextManager[Session]:
        """Open a dataset."""


@dataclass(frozen=True)
class Household:
    """What the hot directories of an agent share."""

    load: Callable[[], Loaded]
    servers: Servers
    clock: Clock

    def plans(self) -> dict[str, Plan]:
        """Read the settings and return a plan for each hot directory. Blocks."""
        loaded = self.load()
        found = configured(loaded)
        if not found:
            hint = 'write three lines: [hot.lab], path = "~/to_cluster", to = "sftp://cluster/from_lab"'
            raise NotFound("no hot directory is configured", hint=f"{hint}; `dray config path` says where")
        return {name: self._plan(one, loaded) for name, one in found.items()}

    def _plan(self, one: Configured, loaded: Loaded) -> Plan:
        settings = one.settings
        steady = msgspec.structs.replace(settings, bwlimit=Timetable())
        run = Running(one, loaded, self).run
        text = repr((steady, loaded.settings.ssh, loaded.settings.s3, loaded.settings.client))
        return Plan(one.name, one.hot.root, settings.to, settings.senders, text, settings.bwlimit, run, settings.vip)


@dataclass(frozen=True)
class Running:
    """One hot directory with everything that it needs while it runs."""

    one: Configured
    loaded: Loaded
    household: Household

    async def run(self, tracker: Show, rate: Rate, stop: asyncio.Event) -> None:
        """Open the ends and watch until ``stop``."""
        hot, clock, brokered = self.one.hot, self.household.clock, self.one.brokered
        async with AsyncExitStack() as stack:
            far = await stack.enter_async_context(ends(brokered, clock, tracker)) if brokered else Ends()
            if self.one.serves:
                place = await self._place(tracker, stop)
                if place is None:
                    return
                hot = replace(hot, prefix=place.path)
                await in_thread(None, self._note, place)
            lane = Lane(far.destination or self._transport(tracker, rate), self.one.settings.senders)
            announce: Announce | None = far.announce
            feed: Feed | None = far.feed
            await watch(hot, replace(lane, announce=announce), tracker, stop, clock, feed)

    def _transport(self, tracker: Show, rate: Rate) -> Transport:
        settings, clock = self.one.settings, self.household.clock
        options = Options(parallel=settings.senders, retry_for=PATIENCE, keep_older=False)
        if self.one.serves:
            return _Dataset(self.household.servers, settings.to, options, rate, tracker.waiting)
        place = open_place(parse(settings.to), options, self.loaded.settings, clock, tracker.waiting, rate)
        return Accelerating(place, self.one.program) if self.one.program is not None else place

    def _note(self, place: Place) -> None:
        """Note where the directory is being sent, so that `dray safe` knows."""
        sent = Sent(self.one.hot.root, place.server, place.dataset, place.path, self.household.clock.wall())
        with known() as notes:
            notes.remember([sent])

    async def _place(self, tracker: Show, stop: asyncio.Event) -> Place | None:
        """Find out what the address of a server names; it is waited for, None when it was stopped."""
        while not stop.is_set():
            try:
                return await self.household.servers.place(self.one.settings.to)
            except DrayError as error:
                if error.retry == "never":
                    raise
                tracker.waiting(f"{error}; next try in {EVERY:.0f} s")
            await first(stop.wait(), timeout=EVERY)
        return None


@dataclass(frozen=True)
class _Dataset:
    """A dataset as a Transport; it is looked for anew for each session, so that a new token counts."""

    servers: Servers
    to: str
    options: Options
    rate: Rate
    waiting: Waiting

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Sign in and open it."""
        return self.servers.dataset(self.to, self.options, self.rate, self.waiting)


def stamp_of(files: Callable[[], tuple[Path, ...]]) -> object:
    """Return something that differs when a settings file does. Blocks."""
    found = []
    for file in files():
        with suppress(OSError):
            seen = file.stat()
            found.append((str(file), seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(found)


async def run_agent(household: Household, files: Callable[[], tuple[Path, ...]], stop: asyncio.Event) -> None:
    """Be the agent until ``stop``; whoever calls this holds the control."""
    house, notifier = control(), Notifier(os.environ)
    await in_thread(None, house.sign, _record(household.clock, notifier))
    os.environ[MARK] = mark(house.folder)
    fleet = Fleet(Source(household.plans, lambda: stamp_of(files)), house, notifier, household.clock)
    _listen(fleet)
    await fleet.run(stop)


def _record(clock: Clock, notifier: Notifier) -> Record:
    return Record(os.getpid(), boot(), began(os.getpid()), clock.wall(), notifier.listened)


def _listen(fleet: Fleet) -> None:
    """Read the settings again at SIGHUP, where there is such a signal."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None:
        loop = asyncio.get_running_loop()
        with suppress(ValueError):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(fleet.reload.set))
