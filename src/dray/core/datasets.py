"""Datasets and the files in them: make, list, find, check, and where the bytes of a file are."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from dray.clock import Clock
from dray.core import checking
from dray.core.access import Principal
from dray.core.cursor import decode, encode
from dray.core.showing import dataset_view, file_state, file_view, readable, upload_view
from dray.errors import Denied, DrayError, NotFound, Refused, UsageError
from dray.model.checksum import Checksum
from dray.model.names import RemotePath, printable
from dray.model.values import Value
from dray.model.views import (
    CheckedFile,
    CheckRequest,
    DatasetPage,
    DatasetRequest,
    DatasetView,
    FileDetail,
    FilePage,
    Text,
)
from dray.state import catalogue, uploads
from dray.state.catalogue import File
from dray.state.database import Database
from dray.state.search import Search, find

Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]

FileState = Literal["verified", "damaged", "moving", "failed", "removed"]
"""What ``FileView.state`` says: a verified copy is published; published, but no good copy is left; an upload is on
its way; the last upload got no further; all copies were removed. ``moving`` and ``failed`` are never current."""


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
        who.require("create", request.name)
        now = self._clock.wall()
        return dataset_view(
            await self._database.write(
                lambda connection: catalogue.make_dataset(connection, request.name, now, who.name)
            )
        )

    async def page(self, who: Principal, cursor: str | None = None, limit: int = 100) -> DatasetPage:
        """Return a page of datasets in the order of their names."""
        require_sight(who)
        after = decode(cursor, Text) if cursor else ""
        found = await self._database.read(
            lambda connection: catalogue.list_datasets(connection, who.datasets, after, limit + 1)
        )
        following = encode(found[limit - 1].name) if len(found) > limit else None
        return DatasetPage(items=[dataset_view(one) for one in found[:limit]], next=following)

    async def get(self, who: Principal, name: str) -> DatasetView:
        """Return one dataset or raise NotFound."""
        require_sight(who)
        found = await self._database.read(lambda connection: catalogue.dataset(connection, searchable(name)))
        if found is None or not who.covers(name):
            raise NotFound("there is no such dataset", item=printable(name))
        return dataset_view(found)

    async def find(self, who: Principal, query: FileQuery) -> FilePage:
        """Return a page of files, by dataset, path and version; a cursor stays right while files come and go."""
        require_sight(who)
        search = _search(who, query)
        found = await self._database.read(lambda connection: find(connection, search))
        shown = found[: query.limit]
        following = None
        if len(found) > query.limit:
            last = shown[-1]
            following = encode((last.dataset, last.path, last.version_number))
        return FilePage(items=[file_view(file) for file in shown], next=following)

    async def detail(self, who: Principal, file: int) -> FileDetail:
        """Return one file with all its uploads, or raise NotFound."""
        found, attempts = await self._database.read(
            lambda connection: (catalogue.get(connection, [file]).get(file), uploads.of_file(connection, file))
        )
        if found is None or not readable(who, found.dataset):
            raise _missing(file)
        return FileDetail(file=file_view(found), uploads=[upload_view(one) for one in attempts])

    async def check(self, who: Principal, request: CheckRequest) -> list[CheckedFile]:
        """Say of each file whether a verified, published copy of this very content is there, in order.

        Without a checksum nothing is called verified: the answer holds size and checksum, to be compared by the caller.
        A dataset that is not there (or not readable) makes every file ``unknown``.
        """
        paths = [item.path for item in request.items]
        if not readable(who, request.dataset):
            return [
                checking.unknown(item, "there is no such dataset, or this token may not read it")
                for item in request.items
            ]
        known = await self._database.read(lambda connection: checking.look(connection, request.dataset, paths))
        return [checking.judge(item, known) for item in request.items]

    async def stored(self, who: Principal, files: Sequence[int]) -> list[StoredFile | DrayError]:
        """Return where the verified bytes of each file are, in order; NotFound, or Refused when damaged, in place."""
        found = await self._database.read(lambda connection: catalogue.get(connection, files))
        return [_stored(who, key, found.get(key)) for key in files]


def require_sight(who: Principal) -> None:
    """Raise Denied unless ``who`` may see the catalogue (who writes may see what became of it)."""
    if not who.may("write"):
        who.require("read")


def searchable(text: str) -> str:
    """Return a text to look for, or raise UsageError when no name can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("not valid UTF-8", item=printable(text)) from None
    if "\0" in text:
        raise UsageError("no name holds a NUL character", item=printable(text))
    return text


def _search(who: Principal, query: FileQuery) -> Search:
    return Search(
        patterns=who.datasets,
        dataset=None if query.dataset is None else searchable(query.dataset),
        prefix=searchable(query.prefix or ""),
        part=searchable(query.name or ""),
        checksum=str(query.checksum) if query.checksum else None,
        state=query.state,
        current=query.version == "current" and query.state not in ("moving", "failed"),
        after=decode(query.cursor, tuple[Text, Text, Number]) if query.cursor else None,
        # One more, to know whether there is another page.
        limit=query.limit + 1,
    )


def _missing(file: int) -> NotFound:
    return NotFound("there is no such file", item=f"file {file}")


def _stored(who: Principal, key: int, file: File | None) -> StoredFile | DrayError:
    if file is None or not who.covers(file.dataset):
        return _missing(key)
    if not who.may("read", file.dataset):
        return Denied(f"token {who.name!r} may not read in dataset {file.dataset}", item=printable(file.path))
    copy = file.verified()
    if copy is None:
        return Refused(f"the file is {file_state(file)}, no verified copy can be read", item=printable(file.path))
    return StoredFile(
        file=key,
        dataset=file.dataset,
        path=RemotePath(file.path),
        store=copy.store,
        location=RemotePath(f"{file.dataset}/{file.path}"),
        version=f"upload-{copy.upload}",
        tag=copy.tag,
        size=copy.size,
        checksum=Checksum.parse(copy.checksum),
        current=file.current,
        mtime_ns=file.mtime_ns,
    )
