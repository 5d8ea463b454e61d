"""SQLite: one writer thread that commits what waits together, a few readers beside it."""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, Pool, QueuePool

from dray.errors import Busy, DrayError, Temporary
from dray.state.setup import prepare
from dray.state.trouble import translate

T = TypeVar("T")

READERS = 3
GROUP = 64
"""Most functions that share one commit."""

PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "busy_timeout = 10000",
    "foreign_keys = ON",
    "temp_store = MEMORY",
    "cache_size = -8192",
)


class SqliteDatabase:
    """A database file that this process alone uses, as long as it lives."""

    kind = "sqlite"
    exclusive = True

    def __init__(self, file: str) -> None:
        self._lock = _lock(Path(file))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="dray-read")
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._closed = False
        try:
            self._writing = _engine(file, "BEGIN IMMEDIATE", NullPool)
            self._reading = _engine(file, "BEGIN", QueuePool, pool_size=READERS, max_overflow=0)
            prepare(self._writing)
        except Exception as error:
            os.close(self._lock)
            raise translate(error) from error
        self._writer = threading.Thread(target=self._serve, name="dray-write", daemon=True)
        self._writer.start()

    async def write(self, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise Temporary("the database is closed")
        order = _Order(work)
        self._orders.put(order)
        result: T = await order.answer
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._orders.put(None)
            await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._writer.join()
        self._readers.shutdown()
        self._reading.dispose()
        os.close(self._lock)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._reading.connect() as connection:
                return work(connection)
        except Exception as error:
            raise translate(error) from error

    def _serve(self) -> None:
        with self._writing.connect() as connection:
            while orders := self._take():
                _deliver(_commit(connection, orders))

    def _take(self) -> list["_Order"]:
        """Wait for an order and return it with those that wait behind it; none once the database is closed."""
        orders: list[_Order] = []
        while len(orders) < GROUP:
            try:
                order = self._orders.get_nowait() if orders else self._orders.get()
            except Empty:
                break
            if order is None:
                # Seen again at the next look, after what came before it is done.
                if orders:
                    self._orders.put(None)
                break
            orders.append(order)
        return orders


class _Order:
    """Work handed to the writer, and who waits for its answer."""

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()

    def resolve(self, value: Any, error: Exception | None) -> None:
        if self.answer.cancelled():
            return
        if error is None:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(error)


Answers = list[tuple[_Order, Any, Exception | None]]


def _commit(connection: Connection, orders: Sequence[_Order]) -> Answers:
    """Run orders in one transaction; when it breaks as a whole, each in one of its own, so that one harms no other."""
    try:
        with connection.begin():
            if len(orders) == 1:
                return [(orders[0], orders[0].work(connection), None)]
            return [_inside(connection, order) for order in orders]
    except Exception as error:
        if len(orders) == 1:
            return [(orders[0], None, translate(error))]
    return [answer for order in orders for answer in _commit(connection, [order])]


def _inside(connection: Connection, order: _Order) -> tuple[_Order, Any, Exception | None]:
    """Run one of several orders, and undo it alone when it refuses; SQLite itself may undo all when it fails."""
    try:
        with connection.begin_nested():
            return order, order.work(connection), None
    except DrayError as error:
        return order, None, error


def _deliver(answers: Answers) -> None:
    for loop in {order.loop for order, _, _ in answers}:
        mine = [answer for answer in answers if answer[0].loop is loop]
        with suppress(RuntimeError):  # a closed loop: nobody waits any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(answers: Answers) -> None:
    for order, value, error in answers:
        order.resolve(value, error)


def _lock(file: Path) -> int:
    """Take the lock beside the database file for the life of this process (the kernel frees it after a kill)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Busy(
            "another Dray server uses this data directory",
            item=str(file.parent),
            hint="stop it first, or use PostgreSQL, which many processes can share",
        ) from error
    return descriptor


def _engine(file: str, begin: str, pool: type[Pool], **options: int) -> Engine:
    """Return an engine whose transactions are ours: the driver's own begin would come too late to be a lock."""
    engine = create_engine(
        URL.create("sqlite", database=file),
        poolclass=pool,
        connect_args={"check_same_thread": False, "cached_statements": 256},
        **options,
    )
    reads = [] if "IMMEDIATE" in begin else ["query_only = ON"]
    event.listen(engine, "connect", lambda connection, record: _set_up(connection, [*PRAGMAS, *reads]))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _set_up(connection: Any, pragmas: Sequence[str]) -> None:
    connection.isolation_level = None
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
