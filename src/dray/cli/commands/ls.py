"""``dray ls``."""

import click
import msgspec

from dray.cli import format
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.reach import reach
from dray.client.address import Place
from dray.client.api import Api
from dray.client.elsewhere import Elsewhere, is_elsewhere, parse
from dray.clock import SystemClock
from dray.model.views import DatasetView, FileView
from dray.wiring.client import Options
from dray.wiring.destinations import reading


class There(msgspec.Struct, frozen=True):
    """A file of a place that is no Dray server; ``modified`` in seconds since 1970 UTC. The checksum is only asked for
    with --long.
    """

    path: str
    size: int
    modified: float
    checksum: str | None


OUTPUT = {"dataset": DatasetView, "file": FileView, "there": There}

DATASETS = (
    Column("dataset", "name"),
    Column("files", lambda d: f"{d.files:,}", right=True),
    Column("size", lambda d: format.size(d.bytes), right=True),
    Column("created", lambda d: format.when(d.created)),
)
FILES = (
    Column("state", "state"),
    Column("size", lambda f: format.size(f.size), right=True),
    Column("published", lambda f: format.when(f.published)),
    Column("path", "path"),
)
LONG = (
    *FILES[:2],
    Column("version", "version_number", right=True),
    FILES[2],
    Column("checksum", "checksum"),
    Column("copies", lambda f: ", ".join(f"{copy.store} {copy.state} {copy.level}" for copy in f.copies)),
    FILES[3],
)

THERE = (
    Column("size", lambda f: format.size(f.size), right=True),
    Column("modified", lambda f: format.when(f.modified)),
    Column("path", "path"),
)
THERE_LONG = (*THERE[:2], Column("checksum", "checksum"), THERE[2])


class Wanted(msgspec.Struct, frozen=True):
    """What to list of a dataset."""

    long: bool
    versions: bool
    name: str | None
    state: str | None

    def query(self, place: Place) -> list[tuple[str, str | int | float]]:
        """Return the filters for the server."""
        given = {
            "dataset": place.dataset,
            "prefix": place.path or None,
            "version": "all" if self.versions or self.state else "current",
            "name": self.name,
            "state": self.state,
        }
        return [(key, value) for key, value in given.items() if value]


@define(
    "ls",
    examples=(
        "dray ls                                  # datasets of the server of the settings",
        "dray ls http://127.0.0.1:8080/run7       # files of a dataset",
        "dray ls run7/scans --long --versions     # what lies below a folder, with checksums",
        "dray ls run7 --name .h5 --json           # part of a name, as JSON",
        "dray ls sftp://hpfx/data                 # files of an account behind ssh",
    ),
)
@click.argument("where", required=False, metavar="[URL | DATASET[/PATH] | sftp://HOST/PATH | s3://BUCKET/PREFIX]")
@click.option("-l", "--long", is_flag=True, help="Show version, checksum and copies as well.")
@click.option("--versions", is_flag=True, help="Show older versions and what is on its way, too.")
@click.option("--name", metavar="TEXT", help="Only paths that hold this text.")
@click.option("--state", type=click.Choice(["verified", "damaged", "moving", "failed", "removed"]), help="Only these.")
def command(app: App, where: str | None, long: bool, versions: bool, name: str | None, state: str | None) -> None:
    """List datasets, or the files of one.

    A file is verified (a verified copy is published), moving, failed, damaged (no good copy is left) or removed.
    """
    wanted = Wanted(long, versions, name, state)
    app.run(lambda stop: _list(app, where, wanted), resume=None)


async def _list(app: App, where: str | None, wanted: Wanted) -> None:
    if where is not None and is_elsewhere(where):
        return await _there(app, parse(where), wanted)
    async with reach(app, where) as there:
        if there.place:
            await _files(app, there.api, there.place, wanted)
        else:
            await _datasets(app, there.api)
    return None


async def _there(app: App, place: Elsewhere, wanted: Wanted) -> None:
    """List the files of a place that is no server."""
    options = Options(app.settings.client.parallel, app.settings.client.retry_for)
    columns = THERE_LONG if wanted.long else THERE
    opening = reading(place, options, app.settings, SystemClock(), app.display.note)
    with app.display.listing("there", columns, empty=f"nothing found in {place}") as listing:
        async with opening as opened:
            session = opened.session if wanted.long else opened.plain
            async for entry in session.list():
                if not wanted.name or wanted.name in entry.path:
                    checksum = str(entry.checksum) if entry.checksum else None
                    listing.add(There(entry.path, entry.size, entry.mtime_ns / 1e9, checksum))


async def _datasets(app: App, api: Api) -> None:
    with app.display.listing("dataset", DATASETS, empty="there are no datasets that you may see") as listing:
        async for dataset in api.datasets():
            listing.add(dataset)


async def _files(app: App, api: Api, place: Place, wanted: Wanted) -> None:
    await api.dataset(place.dataset)  # an unknown one is an error, an empty one is not
    columns = LONG if wanted.long else FILES
    with app.display.listing("file", columns, empty=f"nothing found in {place}") as listing:
        async for file in api.files(wanted.query(place)):
            if below(file.path, place.path):
                listing.add(file)


def below(path: str, folder: str) -> bool:
    """Say whether ``path`` is ``folder`` or lies in it; everything lies in the empty one."""
    return not folder or path == folder or path.startswith(f"{folder}/")
