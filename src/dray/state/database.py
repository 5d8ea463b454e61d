"""The database as the floors above see it: functions that write or read, each in one transaction."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection as Connection
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from dray.errors import UsageError

T = TypeVar("T")

FORMS = "write sqlite:///FILE or postgresql://USER@HOST/DATABASE"


class Database(Protocol):
    """Runs functions in transactions, off the event loop.

    A function may be run again when its transaction had to be repeated, or when the connection broke in COMMIT and
    nobody knows whether it counted: it must find its own effect and answer the same. It must not touch anything but
    its connection. Failures of the database are raised as DrayErrors: NoSpace, Busy, Unreachable, Temporary.
    """

    kind: str
    """``sqlite`` or ``postgresql``."""

    exclusive: bool
    """Whether this process alone has the database, so that what ran when it was opened runs no more."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns once its changes are durable; what it raises undoes them."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` reads, all of it from one snapshot."""

    async def close(self) -> None:
        """Finish what was handed in and let go of the database."""


def open_database(url: str) -> Database:
    """Open ``sqlite:///file`` or ``postgresql://...``, making or upgrading its tables; blocks, so call it in a thread.

    Raises Busy when another process has the SQLite file, Conflict when a newer Dray made the tables.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Never shown: there may be a password in it.
        raise UsageError("the address of the database cannot be read", hint=FORMS) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        from dray.state.sqlite import SqliteDatabase

        return SqliteDatabase(parsed.database)
    if parsed.get_backend_name() == "postgresql":
        from dray.state.postgres import PostgresDatabase

        return PostgresDatabase(url)
    raise UsageError("the database is neither SQLite nor PostgreSQL", hint=FORMS)
