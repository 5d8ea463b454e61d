"""What happened, in order: pages of events, and waiting for the next one."""

from dray.core.access import Principal
from dray.core.bell import Bell
from dray.model.views import EventPage
from dray.state.database import Database


class Announcements:
    """Reads events in their published order: no event ever appears before one that was already read (ADR 4)."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    async def events(
        self, who: Principal, after: str | None = None, limit: int = 100, file: int | None = None
    ) -> EventPage:
        """Return events after the one with id ``after`` (None: from the first), of one file if given.

        ``next`` is always the id to go on from, also on the last page (None only before the very first event).
        """
        raise NotImplementedError

    async def newest(self, who: Principal) -> str | None:
        """Return the id of the newest event that can be read, to begin a stream at "now"."""
        raise NotImplementedError

    async def wait_events(
        self, who: Principal, after: str | None, limit: int = 100, seconds: float = 30.0
    ) -> EventPage:
        """Return events after ``after`` as soon as there are some, or an empty page after ``seconds``."""
        raise NotImplementedError
