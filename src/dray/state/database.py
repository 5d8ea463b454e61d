"""The database as the floors above see it: functions that write or read, each in one transaction."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Database(Protocol):
    """Runs functions in transactions, off the event loop.

    A function may be run again when its transaction had to be repeated, or when the connection broke in COMMIT and
    nobody knows whether it counted: it must find its own effect and answer the same. It must not touch anything but
    its connection.
    """

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns once its changes are durable; what it raises undoes them."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` reads, all of it from one snapshot."""

    async def close(self) -> None:
        """Finish what was handed in and let go of the database."""
