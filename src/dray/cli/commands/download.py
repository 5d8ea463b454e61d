"""``dray download``."""

import os
from contextlib import ExitStack, aclosing
from typing import Any, Literal

import click
import msgspec

from dray.cli import carry, tally
from dray.cli.carry import Carried, Common, carrying, moving_options
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.interrupt import Stop
from dray.client.address import Place
from dray.fs import Root
from dray.model.filters import Filters
from dray.moving.fetch import Fetch, Request
from dray.moving.here import Here, Local, Nowhere
from dray.moving.reread import Reader
from dray.wiring import client as wiring

OUTPUT = carry.OUTPUT


class Wanted(Common, frozen=True, kw_only=True):
    """The command line."""

    where: str
    directory: str
    on_exists: Literal["fail", "replace"] = "fail"


@define(
    "download",
    examples=(
        "dray download http://127.0.0.1:8080/beamtime ./beamtime      # the whole dataset",
        "dray download beamtime/run7 .                                # becomes ./run7/...",
        "dray download beamtime/run7/ ./here                          # its contents, without the folder's name",
        "dray download sftp://hpfx/data/run7 .                        # from an account behind ssh, becomes ./run7/...",
        "dray download beamtime/run7/scan.h5 . --on-exists replace    # one file, over whatever is there",
    ),
)
@click.argument("where", metavar="URL/DATASET[/PATH]|sftp://HOST/PATH|s3://BUCKET/PREFIX")
@click.argument("directory", default=".", metavar="[DIR]")
@moving_options
@click.option(
    "--on-exists", type=click.Choice(["fail", "replace"]), default="fail", show_default=True,
    help="What to do where a file with other content is: leave it and say so, or replace it.",
)  # fmt: skip
def command(app: App, **given: Any) -> int:
    """Fetch a dataset or files of it, or of an account behind ssh, verified before they get their names.

    A file that is there already with the same content is not fetched again, one with other content is not touched.
    Run it again after a crash or a broken network: it goes on from the last durable byte.
    """
    wanted = msgspec.convert(given, Wanted)
    audience = app.run(lambda stop: _download(app, wanted, stop))
    summary = audience.summary()
    app.display.text(tally.sentence("fetched", summary))
    return tally.exit_code(summary, audience.codes)


async def _download(app: App, wanted: Wanted, stop: Stop) -> tally.Tally:
    options = wanted.options(app)
    async with carrying(app, wanted.where, "download", wanted, options) as carried:
        if carried.api is not None and isinstance(carried.place, Place):
            await carried.api.dataset(carried.place.dataset)  # an unknown one is an error, an empty one is not
        wanted = msgspec.structs.replace(wanted, directory=os.path.join(wanted.directory, carried.name))
        request = Request(
            path=carried.path,
            contents=carried.place.folder,
            rules=Filters.parse(wanted.filters),
            on_exists=wanted.on_exists,
            parallel=options.parallel,
        )
        await (_plan(wanted, request, carried, stop) if wanted.dry_run else _fetch(wanted, request, carried, stop))
    return carried.audience


async def _fetch(wanted: Wanted, request: Request, carried: Carried, stop: Stop) -> None:
    async with wiring.directory(wanted.directory, carried.session.limits) as directory:
        reader = Reader(directory.root, carried.notes.known, carried.clock, carried.audience, stop.event)
        here = Here(directory.root, reader)
        fetch = Fetch(request, carried.session, directory, here, carried.audience)
        async with aclosing(fetch.run(stop.event)) as batches:
            async for _ in batches:
                pass


async def _plan(wanted: Wanted, request: Request, carried: Carried, stop: Stop) -> None:
    """Show what a download would do, without making the directory."""
    with ExitStack() as stack:
        here: Local = Nowhere()
        if os.path.isdir(wanted.directory):
            root = stack.enter_context(Root(wanted.directory))
            here = Here(root, Reader(root, carried.notes.known, carried.clock, carried.audience, stop.event))
        fetch = Fetch(request, carried.session, carried.session, here, carried.audience)
        async with aclosing(fetch.batches()) as batches:
            async for items in batches:
                carried.audience.planned(items)
