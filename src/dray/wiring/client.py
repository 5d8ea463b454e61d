"""What a command of the client side is put together from: a dataset, a directory, the notes, the bandwidth limit."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from dray.client.address import Place
from dray.client.api import Api
from dray.client.rate import Rate
from dray.clock import Clock
from dray.config import paths
from dray.config.parse import Timetable
from dray.errors import DrayError
from dray.model.retry import Persistence
from dray.model.values import Limits, Value
from dray.moving.known import Known
from dray.moving.nest import nest
from dray.threads import in_thread
from dray.transports.base import Session
from dray.transports.dray import DraySettings, DrayTransport
from dray.transports.posix import Posix, PosixSession
from dray.transports.wrappers import Retrying

LONGEST = 5.0
"""Seconds between two tries of a command that somebody waits for."""
MINUTE = 60.0

Waiting = Callable[[str], None]
"""Is told why nothing moves."""


class Watcher(Protocol):
    """Is told how the line does."""

    def waiting(self, reason: str) -> None:
        """Say why nothing moves."""

    def wire(self, nbytes: int) -> None:
        """Count bytes that went over the line, in any thread."""


class Options(Value, frozen=True):
    """How a command uses a place: ``retry_for`` seconds without progress; ``wait`` for verdicts or not.

    ``keep_older``: a place that is no Dray server keeps the content that is published over; else it is replaced.
    """

    parallel: int = 4
    retry_for: float = 600.0
    create: bool = True
    wait: bool = True
    keep_older: bool = False


@asynccontextmanager
async def dataset(api: Api, place: Place, options: Options, clock: Clock, watcher: Watcher) -> AsyncIterator[Session]:
    """Open a dataset of a server; calls are made again while the server is away."""

    def tell(error: DrayError, delay: float) -> None:
        watcher.waiting(f"{error}; next try in {delay:.0f} s")

    patience = options.retry_for if options.wait else 0.0
    settings = DraySettings(place.dataset, options.create, options.parallel, patience)
    async with DrayTransport(api, settings, clock, watcher.wire).connect() as session:
        yield Retrying(session, clock, tell, Persistence(options.retry_for, LONGEST))


@asynccontextmanager
async def directory(path: str, source: Limits) -> AsyncIterator[PosixSession]:
    """Open a local directory, made where it is missing, for files that arrive in pieces as ``source`` has them."""
    nested = nest(path)
    limits = Limits(piece=source.piece, in_flight=source.in_flight)
    await in_thread(None, nested.__enter__)
    try:
        async with Posix(path, name="download", limits=limits).connect() as session:
            yield session
    finally:
        await in_thread(None, nested.__exit__, None, None, None)


def known() -> Known:
    """Open the notes of this user."""
    return Known(paths.user_state_dir() / "known.sqlite")


@asynccontextmanager
async def limited(timetable: Timetable, clock: Clock) -> AsyncIterator[Rate]:
    """Give a rate that follows the timetable through the day."""
    rate = Rate(clock, _now(timetable, clock))
    following = asyncio.create_task(_follow(rate, timetable, clock))
    try:
        yield rate
    finally:
        following.cancel()


async def _follow(rate: Rate, timetable: Timetable, clock: Clock) -> None:
    while True:
        await asyncio.sleep(MINUTE)
        rate.limit = _now(timetable, clock)


def _now(timetable: Timetable, clock: Clock) -> int | None:
    local = time.localtime(clock.wall())
    return timetable.rate_at(local.tm_hour * 60 + local.tm_min)
