"""The queue of background work: what users see of it, and what the worker's loop takes from it."""

from dray.clock import Clock
from dray.core.access import Principal
from dray.core.bell import Bell
from dray.model.values import Value
from dray.model.views import JobView, QueueStatus, ScrubRequest
from dray.state.database import Database


class Totals(Value, frozen=True):
    """Counts for the status page: uploads by state, current files and their bytes."""

    uploads: dict[str, int]
    files: int
    bytes: int


class Jobs:
    """Queued work as the API shows it."""

    def __init__(self, database: Database, clock: Clock, bell: Bell) -> None:
        self._database = database
        self._clock = clock
        self._bell = bell

    async def job(self, who: Principal, job: int) -> JobView:
        """Return one job, or raise NotFound."""
        raise NotImplementedError

    async def status(self) -> QueueStatus:
        """Return how much waits and runs, since when, and why the next one waits."""
        raise NotImplementedError

    async def totals(self) -> Totals:
        """Return the counts of uploads and files."""
        raise NotImplementedError

    async def scrub(self, who: Principal, request: ScrubRequest) -> JobView:
        """Queue a scrub of a dataset, or of everything; one that has not ended yet is answered. Needs ``admin``
        for everything, ``write`` for one dataset."""
        raise NotImplementedError
