"""Datasets and the files in them: make, list, find, check, and where the bytes of a file are."""

from collections.abc import Sequence
from typing import Literal

from dray.clock import Clock
from dray.core.access import Principal
from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Value
from dray.model.views import (
    CheckedFile,
    CheckRequest,
    DatasetPage,
    DatasetRequest,
    DatasetView,
    FileDetail,
    FilePage,
)
from dray.state.database import Database

FileState = Literal["verified", "damaged", "moving", "failed", "removed"]
"""What ``FileView.state`` says: a verified copy is published; published, but no good copy is left; an upload is on
its way; the last upload got no further; all copies were removed."""


class FileQuery(Value, frozen=True):
    """What to find; None means any. ``name`` is a text anywhere in the path, ``prefix`` one at its begin.

    ``version`` ``current`` finds what is published now; ``all`` also older versions and what is still on its way.
    ``cursor`` is ``next`` of the page before.
    """

    dataset: str | None = None
    prefix: str | None = None
    name: str | None = None
    checksum: Checksum | None = None
    state: FileState | None = None
    version: Literal["current", "all"] = "current"
    cursor: str | None = None
    limit: int = 100


class StoredFile(Value, frozen=True):
    """Where the verified bytes of a file are.

    ``location`` is the path in the store under which it was published. When ``current`` is False a newer version has
    that path and the bytes are kept under ``version``, the token they were staged with (``upload-<id>``), or
    ``tag``, which pins the stored thing: whoever opens it compares.
    """

    file: int
    dataset: str
    path: RemotePath
    store: str
    location: RemotePath
    version: str
    tag: str
    size: int
    checksum: Checksum
    current: bool
    mtime_ns: int | None = None


class Datasets:
    """The catalogue as users see it. Only datasets that ``who`` may read are ever shown."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, who: Principal, request: DatasetRequest) -> DatasetView:
        """Make a dataset; one that is there already is answered as it is. Needs ``create``."""
        raise NotImplementedError

    async def page(self, who: Principal, cursor: str | None = None, limit: int = 100) -> DatasetPage:
        """Return a page of datasets in the order of their names."""
        raise NotImplementedError

    async def get(self, who: Principal, name: str) -> DatasetView:
        """Return one dataset or raise NotFound."""
        raise NotImplementedError

    async def find(self, who: Principal, query: FileQuery) -> FilePage:
        """Return a page of files, by dataset, path and version; a cursor stays right while files come and go."""
        raise NotImplementedError

    async def detail(self, who: Principal, file: int) -> FileDetail:
        """Return one file with all its uploads, or raise NotFound."""
        raise NotImplementedError

    async def check(self, who: Principal, request: CheckRequest) -> list[CheckedFile]:
        """Say of each file whether a verified, published copy of this very content is there, in order.

        Without a checksum nothing is called verified: the answer holds size and checksum, to be compared by the caller.
        A dataset that is not there (or not readable) makes every file ``unknown``.
        """
        raise NotImplementedError

    async def stored(self, who: Principal, files: Sequence[int]) -> list[StoredFile | DrayError]:
        """Return where the verified bytes of each file are, in order; NotFound, or Refused when damaged, in place."""
        raise NotImplementedError
