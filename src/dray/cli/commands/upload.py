"""``dray upload``."""

import os
import platform
from contextlib import aclosing
from typing import Any

import click
import msgspec

from dray.cli import carry, tally
from dray.cli.carry import Carried, Common, carrying, moving_options
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.interrupt import Stop
from dray.client.address import is_address
from dray.client.elsewhere import is_elsewhere
from dray.errors import UsageError
from dray.model.filters import Filters
from dray.model.values import OnExists
from dray.moving.deliver import Delivery, deliver, planned
from dray.moving.walk import trees
from dray.threads import in_thread

OUTPUT = carry.OUTPUT
FORM = "write: dray upload PATH... URL/DATASET[/PATH], or sftp://HOST/PATH"


class Wanted(Common, frozen=True, kw_only=True):
    """The command line."""

    paths: tuple[str, ...]
    on_exists: OnExists = "version"
    no_wait: bool = False
    no_create: bool = False


@define(
    "upload",
    examples=(
        "dray upload run7 http://127.0.0.1:8080/beamtime           # becomes beamtime/run7/...",
        "dray upload run7/ http://127.0.0.1:8080/beamtime          # its contents, without the folder's name",
        'dray upload run7/ beamtime/raw --filter "+ *.h5" --filter "- **"',
        "dray upload run7 sftp://hpfx/data                         # an account behind ssh, becomes ~/data/run7/...",
        "dray upload run7 s3://archive/2026                        # a bucket: s3://archive/2026/run7/...",
        "dray upload scan.h5 beamtime --json                       # every file with its checksum, as JSON",
    ),
)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH... URL/DATASET[/PATH]|sftp://HOST/PATH|s3://BUCKET/PREFIX"
)
@moving_options
@click.option(
    "--on-exists", type=click.Choice(["version", "fail", "replace"]), default="version", show_default=True,
    help="What to do where other content has the name: keep it as an older version, refuse, or replace it.",
)  # fmt: skip
@click.option("--no-wait", is_flag=True, help="Leave once everything was sent; `dray safe` tells the verdict.")
@click.option("--no-create", is_flag=True, help="Do not make the dataset if it is not there.")
def command(app: App, **given: Any) -> int:
    """Send files and directories to a dataset, verified before it ends.

    DIR keeps its name, DIR/ means its contents. What was sent before is not sent again; new content of a known path
    becomes a new version. Run it again after a crash or a broken network: it goes on from the last durable byte.
    sftp://HOST/PATH is a directory behind ssh, seen from the login directory (sftp://HOST//PATH: from the root),
    s3://BUCKET/PREFIX a bucket, used with the keys of AWS_... or ~/.aws; there older content is kept below
    .dray/versions, unless --on-exists says replace.
    """
    wanted = msgspec.convert(given, Wanted)
    *paths, to = wanted.paths
    if not paths or (os.path.isfile(to) and not is_address(to) and not is_elsewhere(to)):
        raise UsageError("it does not say where to", item=to, hint=FORM)
    audience = app.run(lambda stop: _upload(app, wanted, (tuple(paths), to), stop))
    summary = audience.summary()
    app.display.text(tally.sentence("sent", summary))
    return tally.exit_code(summary, audience.codes, wait=not wanted.no_wait)


async def _upload(app: App, wanted: Wanted, line: tuple[tuple[str, ...], str], stop: Stop) -> tally.Tally:
    paths, to = line
    options = wanted.options(app, wait=not wanted.no_wait, create=not wanted.no_create)
    options = msgspec.structs.replace(options, keep_older=wanted.on_exists == "version")
    async with carrying(app, to, "upload", wanted, options) as carried:
        delivery = Delivery(
            trees=tuple(await in_thread(None, trees, paths, carried.path)),
            rules=Filters.parse(wanted.filters),
            host=platform.node(),
            now=carried.clock.wall(),
            on_exists=wanted.on_exists,
            parallel=options.parallel,
        )
        await (_plan(delivery, carried) if wanted.dry_run else _send(delivery, carried, stop))
    return carried.audience


async def _send(delivery: Delivery, carried: Carried, stop: Stop) -> None:
    await carried.notes.sent(delivery.trees, carried.place)
    async with aclosing(deliver(delivery, carried.session, carried.audience, stop.event)) as batches:
        async for outcomes in batches:
            await carried.notes.digests(outcomes)


async def _plan(delivery: Delivery, carried: Carried) -> None:
    walk = delivery.walk()
    for tree in delivery.trees:
        async with aclosing(planned(delivery, walk, tree, carried.session, carried.audience)) as batches:
            async for items in batches:
                carried.audience.planned(items)
