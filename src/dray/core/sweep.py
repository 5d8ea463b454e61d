"""Housekeeping: answers kept for repeated requests, abandoned uploads, leftovers, old rows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dray.clock import Clock
from dray.core.access import Principal
from dray.model.values import Value
from dray.state.database import Database


class Answer(Value, frozen=True):
    """The answer to a POST as it went out."""

    status: int
    media_type: str
    body: bytes


class Repeats:
    """Answers of POSTs with an Idempotency-Key, kept for 24 hours for each token."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, who: Principal, key: str, digest: str) -> Answer | None:
        """Return the answer kept for ``key``, or None. ``digest`` is that of operation and body; Refused if another."""
        raise NotImplementedError

    async def put(self, who: Principal, key: str, digest: str, answer: Answer) -> None:
        """Keep the first answer to ``key``; a later one changes nothing."""
        raise NotImplementedError

    @asynccontextmanager
    async def alone(self, who: Principal, key: str) -> AsyncIterator[None]:
        """Hold ``key`` while its request is worked on; Busy for a second one at the same time in this process."""
        yield
        raise NotImplementedError
