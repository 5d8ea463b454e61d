"""PostgreSQL: a pool of threads with a connection each; what may be repeated is repeated, a bounded number of times."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError

from dray.errors import Temporary
from dray.state.setup import prepare
from dray.state.trouble import AGAIN, disconnected, sqlstate, translate

T = TypeVar("T")

THREADS = 8
TRIES = 6
LONGEST_PAUSE = 0.2
SETTINGS = {
    "lock_timeout": "20s",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "60s",
    "TimeZone": "UTC",
}
"""A connection that is stuck lets go of its locks, so that others get on."""


class PostgresDatabase:
    """A database that any number of processes share."""

    kind = "postgresql"
    exclusive = False

    def __init__(self, url: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dray-database")
        self._writing = _engine(url)
        self._reading = self._writing.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._closed = False
        try:
            prepare(self._writing)
        except Exception as error:
            self._writing.dispose()
            raise translate(error) from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._run(self._writing, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._run(self._reading, work)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._threads.shutdown)
            await asyncio.to_thread(self._writing.dispose)

    async def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise Temporary("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, repeatedly, engine, work)


def repeatedly(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run a transaction until it counts. Lost connections are replaced; every work finds its own effect."""
    for left in reversed(range(TRIES)):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if not left or not _again(error):
                raise translate(error) from error
        # Those who collided must not meet again at once.
        time.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311
    raise AssertionError("unreachable")


def _again(error: DBAPIError) -> bool:
    return sqlstate(error) in AGAIN or disconnected(error)


def _engine(url: str) -> Engine:
    options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=THREADS,
        max_overflow=0,
        connect_args={"connect_timeout": 10, "options": options, "application_name": "dray"},
    )
