"""What API and worker stand on: the data directory, the database, the store, and the uploads that join them."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from dray.clock import Clock, SystemClock
from dray.config.secrets import read_secret
from dray.config.settings import Settings
from dray.core.bell import Bell
from dray.core.uploads import Uploads
from dray.errors import LimitReached
from dray.model.parts import plan_part_size
from dray.model.values import Limits
from dray.state.database import Database, open_database
from dray.threads import in_thread
from dray.transports.posix import Posix, PosixSession
from dray.wiring.home import Home

STORE = "store"
"""The name of the one store."""

IN_FLIGHT = 8


@dataclass(frozen=True)
class Base:
    """What the parts of a server share."""

    settings: Settings
    home: Home
    key: bytes
    database: Database
    session: PosixSession
    clock: Clock
    bell: Bell
    uploads: Uploads


@asynccontextmanager
async def open_base(settings: Settings) -> AsyncIterator[Base]:
    """Open the data directory, the database and the store, and close them again."""
    home = Home(settings.server.data)
    await in_thread(None, home.prepare)
    key = await in_thread(None, home.signing_key)
    limits = Limits(piece=int(settings.limits.part_size), in_flight=IN_FLIGHT)
    database = await in_thread(None, open_database, _database_url(settings, home))
    try:
        place = Posix(
            home.store, staging=home.inbox, name=f"{STORE}@{socket.gethostname()}", limits=limits, compare_final=False
        )
        async with place.connect() as session:
            clock, bell = SystemClock(), Bell()
            uploads = Uploads(database, clock, bell, _planner(limits, settings.limits.largest_file))
            yield Base(settings, home, key, database, session, clock, bell, uploads)
    finally:
        await database.close()


def _database_url(settings: Settings, home: Home) -> str:
    if settings.database.url_file:
        return read_secret(Path(settings.database.url_file).expanduser())
    return settings.database.url or f"sqlite:///{home.database}"


def _planner(limits: Limits, largest: int) -> Callable[[int], int]:
    def plan(size: int) -> int:
        if size > largest:
            raise LimitReached(f"a file of {size} bytes is too large here", hint=f"at most {largest} are taken")
        return plan_part_size(size, limits)

    return plan
