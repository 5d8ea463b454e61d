"""What happened, in order: pages of events, and waiting for the next one."""

import re

from dray.clock import Clock
from dray.core.access import Principal
from dray.core.bell import EVENTS, Bell
from dray.core.showing import event_view, position_text
from dray.errors import UsageError
from dray.model.names import printable
from dray.model.views import EventPage
from dray.state import events
from dray.state.database import Connection, Database
from dray.state.events import BEGIN, Position, Seen

POLL = 1.0
"""Seconds between looks for what other processes wrote."""


class Announcements:
    """Reads events in their published order: no event ever appears before one that was already read (ADR 4)."""

    def __init__(self, database: Database, clock: Clock, bell: Bell) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell

    async def events(
        self, who: Principal, after: str | None = None, limit: int = 100, file: int | None = None
    ) -> EventPage:
        """Return events after the one with id ``after`` (None: from the first), of one file if given.

        ``next`` is always the id to go on from, also on the last page (None only before the very first event).
        """
        who.require("read")
        # Who administers everything also sees what is about no dataset: tokens, jobs.
        seen = Seen(who.datasets, who.may("admin") and not who.datasets, file)
        place = _place(after) if after else BEGIN
        return await self._database.read(lambda connection: _page(connection, place, limit, seen))

    async def newest(self, who: Principal) -> str | None:
        """Return the id of the newest event that can be read, to begin a stream at "now"."""
        who.require("read")
        place = await self._database.read(events.newest)
        return None if place == BEGIN else position_text(place)

    async def wait_events(
        self, who: Principal, after: str | None, limit: int = 100, seconds: float = 30.0
    ) -> EventPage:
        """Return events after ``after`` as soon as there are some, or an empty page after ``seconds``."""
        end = self._clock.monotonic() + seconds
        with self._bell.listen(EVENTS) as ear:
            page = await self.events(who, after, limit)
            while not page.items and (left := end - self._clock.monotonic()) > 0:
                await ear.wait(min(left, POLL))
                page = await self.events(who, page.next, limit)
        return page


def _page(connection: Connection, place: Position, limit: int, seen: Seen) -> EventPage:
    # Read first, so that what is newest cannot hide events that this page should have held.
    newest = events.newest(connection)
    rows = events.read(connection, place, limit, seen)
    if len(rows) == limit:
        last = Position(rows[-1].stamp, rows[-1].id)
    else:
        last = max(place, newest, key=lambda one: (one.stamp, one.id))
    following = None if last == BEGIN else position_text(last)
    return EventPage(items=[event_view(row) for row in rows], next=following)


_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


def _place(text: str) -> Position:
    found = _ID.fullmatch(text)
    if found is None:
        raise UsageError("this is not the id of an event", item=printable(text))
    return Position(int(found[1]), int(found[2]))
