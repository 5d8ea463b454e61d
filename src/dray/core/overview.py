"""What the web pages show besides the catalogue: a folder with its folders gathered, what waits, what happened last."""

from dray.core.access import Principal
from dray.core.datasets import require_sight, searchable
from dray.core.showing import event_view, file_view, upload_view
from dray.errors import NotFound
from dray.model.names import printable
from dray.model.values import Value
from dray.model.views import Event, FileView, UploadView
from dray.state import catalogue, events, overview, uploads
from dray.state.database import Connection, Database
from dray.state.events import Seen


class FolderRow(Value, frozen=True):
    """A folder and what it holds at any depth; ``more`` when there are more files than were counted."""

    name: str
    prefix: str
    files: int
    bytes: int
    more: bool


class FolderPage(Value, frozen=True):
    """Some of what is directly in a folder; ``next`` is where to go on."""

    folders: list[FolderRow]
    files: list[FileView]
    next: str | None


class Overview:
    """Looks at the state for people; nothing here is needed by programs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def folder(self, who: Principal, dataset: str, prefix: str, after: str, limit: int) -> FolderPage:
        """Return what is published directly below ``prefix`` (empty, or with a slash at its end), or raise NotFound."""
        require_sight(who)
        prefix, after = searchable(prefix), searchable(after)
        page = await self._database.read(lambda connection: _folder(connection, dataset, prefix, after, limit))
        if page is None or not who.covers(dataset):
            raise NotFound("there is no such dataset", item=printable(dataset))
        return page

    async def waiting(self, who: Principal, limit: int, dataset: str | None = None) -> list[UploadView]:
        """Return uploads without a verdict, what changed longest ago first."""
        return await self._uploads(who, overview.Wanted(overview.OPEN, dataset, limit))

    async def refused(self, who: Principal, limit: int) -> list[UploadView]:
        """Return uploads that were rejected or failed and have no successor, the newest first."""
        return await self._uploads(who, overview.Wanted(overview.REFUSED, None, limit, newest=True))

    async def _uploads(self, who: Principal, wanted: overview.Wanted) -> list[UploadView]:
        require_sight(who)

        def look(connection: Connection) -> list[UploadView]:
            keys = overview.find_uploads(connection, who.datasets, wanted)
            found = uploads.whole(connection, keys)
            return [upload_view(found[key]) for key in keys]

        return await self._database.read(look)

    async def latest(self, who: Principal, limit: int, file: int | None = None) -> list[Event]:
        """Return the newest events, the newest first; of one file if given."""
        who.require("read")
        seen = Seen(who.datasets, who.may("admin") and not who.datasets, file)
        rows = await self._database.read(lambda connection: events.latest(connection, limit, seen))
        return [event_view(row) for row in rows]


def _folder(connection: Connection, dataset: str, prefix: str, after: str, limit: int) -> FolderPage | None:
    known = catalogue.dataset(connection, searchable(dataset))
    if known is None:
        return None
    listing = overview.folder(connection, known.id, prefix, after, limit)
    found = catalogue.get(connection, listing.files)
    folders = [
        FolderRow(one.prefix[len(prefix) : -1], one.prefix, one.files, one.bytes, one.more) for one in listing.folders
    ]
    return FolderPage(folders, [file_view(found[key]) for key in listing.files], listing.next)
