"""``dray watch``."""

import os
import platform
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from dray.agent.plan import Planned, plan
from dray.agent.send import Lane, first
from dray.agent.watch import HotDirectory, watch, watch_once
from dray.cli import format
from dray.cli.carry import Common, moving_options
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK
from dray.cli.hot import Foreground, Stood, Totals
from dray.cli.interrupt import Stop
from dray.cli.notes import Notes
from dray.cli.reach import reach
from dray.client.address import Place
from dray.client.elsewhere import Elsewhere, is_elsewhere, parse
from dray.client.rate import Rate
from dray.clock import Clock, SystemClock
from dray.config.parse import parse_duration, parse_size, parse_timetable
from dray.errors import DrayError, UsageError
from dray.model.filters import HOT_DIRECTORY, Filters, SizeAndAge
from dray.model.settle import Policy
from dray.moving.walk import Tree
from dray.threads import in_thread
from dray.transports.base import Session, Transport
from dray.wiring import client as wiring
from dray.wiring.destinations import open_place
from dray.wiring.watch import destination, journal_of

OUTPUT = {"hot.files": Stood, "hot.files.summary": Totals, "hot.plan": Planned}
DIRECTORY = click.Path(exists=True, file_okay=False)
EVERY = 5.0
"""Seconds between two tries to find the server."""

PLAN = (
    Column("what", "action", width=6),
    Column("size", lambda one: format.size(one.size), right=True, width=9),
    Column("path", "path"),
    Column("why", lambda one: one.reason or None),
)


class Wanted(Common, frozen=True, kw_only=True):
    """The command line."""

    directory: str
    to: str
    once: bool = False
    settle: str | None = None
    done_file: str | None = None
    reopened: bool = False
    max_size: str | None = None
    max_age: str | None = None

    def policy(self, app: App) -> Policy:
        """Return when a file counts as finished."""
        done_file = self.done_file if self.done_file is not None else app.settings.watch.done_file or ""
        if done_file == "{name}" or "/" in done_file:
            raise UsageError("not a name of a done-file", item=done_file, hint='write "{name}.done" or "RUN_COMPLETE"')
        settle = parse_duration(self.settle) if self.settle else app.settings.watch.settle
        return Policy(settle, not self.reopened, done_file)

    def rules(self, app: App) -> Filters:
        """Return which files are taken."""
        bounds = SizeAndAge(
            max_size=parse_size(self.max_size) if self.max_size else None,
            max_age=parse_duration(self.max_age) if self.max_age else None,
        )
        return Filters.parse(self.filters or app.settings.watch.filter, HOT_DIRECTORY, bounds)

    def hot(self, app: App, place: Place | Elsewhere) -> HotDirectory:
        """Return what is watched."""
        root = os.path.realpath(self.directory)
        prefix = place.path if isinstance(place, Place) else ""
        return HotDirectory(
            root,
            journal_of(root, place),
            platform.node(),
            self.rules(app),
            self.policy(app),
            prefix,
            app.settings.watch.rescan,
        )


@define(
    "watch",
    examples=(
        "dray watch /instrument http://127.0.0.1:8080/run7          # until Ctrl-C",
        "dray watch ~/to_hpfx sftp://hpfx/on_hpfx                   # an account behind ssh, from its login directory",
        "dray watch /instrument s3://archive/lab                    # a bucket, with the keys of ~/.aws",
        "dray watch /instrument run7 --once                         # what is there now, then end",
        'dray watch /instrument run7 --filter "+ *.h5" --filter "- **" --dry-run',
        "dray watch lab                                             # [hot.lab] of the settings",
        'dray watch /instrument run7 --done-file "{name}.done"      # a file counts once this one is there',
    ),
)
@click.argument("directory", metavar="DIR|NAME")
@click.argument("to", metavar="[URL/DATASET[/PATH]|sftp://HOST/PATH|s3://BUCKET/PREFIX]", required=False)
@click.option("--once", is_flag=True, help="Send what is there, wait for the verdicts and end.")
@click.option("--settle", metavar="TIME", help="How long a file must rest where its end is not seen. [default: 2s]")
@click.option(
    "--done-file", metavar="NAME", help='Wait for "{name}.done" beside a file, or for "READY" in or above it.'
)
@click.option("--reopened", is_flag=True, help="Files are closed and opened again while they grow: let them rest, too.")
@click.option("--max-size", metavar="SIZE", help="Leave larger files out.")
@click.option("--max-age", metavar="TIME", help="Leave out files that were last changed longer ago.")
@moving_options
def command(app: App, **given: Any) -> int:
    """Send whatever appears in a directory, for as long as it runs.

    What lies in DIR arrives in the dataset under the same relative path. A file is sent as soon as it is renamed in or
    closed after writing, else when it has rested; names in progress (.*, *.tmp, *.part, *.partial) are left alone.
    sftp://HOST/PATH is a directory behind ssh, seen from the login directory (sftp://HOST//PATH: from the root); HOST
    may be one of ~/.ssh/config. s3://BUCKET/PREFIX is a bucket, used with the keys of AWS_... or ~/.aws. What has a
    name there is replaced by newer content of that name. Nothing is deleted anywhere. A journal keeps how far each file
    got, so it may be stopped or killed at any time. NAME alone is a hot directory of the settings, [hot.NAME], which
    then runs here instead of in the agent.
    """
    if given["to"] is None:
        return _by_name(app, given["directory"], given)
    DIRECTORY.convert(given["directory"], None, click.get_current_context())
    wanted = msgspec.convert(given, Wanted)
    wanted.rules(app)
    wanted.policy(app)
    if wanted.dry_run:
        return app.run(lambda stop: _plan(app, wanted))
    return app.run(lambda stop: _run(app, wanted, stop), **({} if wanted.once else {"resume": None}))


def _by_name(app: App, name: str, given: dict[str, Any]) -> int:
    from dray.cli.named import hot_named, watch_named

    one = hot_named(app, name)
    if any(value for option, value in given.items() if option != "directory"):
        raise UsageError("a hot directory of the settings takes no options", item=name, hint="change the settings")
    return app.run(lambda stop: watch_named(app, one, stop), resume=None)


async def _plan(app: App, wanted: Wanted) -> int:
    hot = wanted.hot(app, await _place(app, wanted))
    planned = await in_thread(None, lambda: list(plan(hot, SystemClock())))
    app.display.rows("hot.plan", planned, PLAN, empty="nothing to do")
    return OK


async def _place(app: App, wanted: Wanted) -> Place | Elsewhere:
    if is_elsewhere(wanted.to):
        return parse(wanted.to)
    async with reach(app, wanted.to) as there:
        return there.dataset()


async def _run(app: App, wanted: Wanted, stop: Stop) -> int:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        timetable = parse_timetable(wanted.bwlimit) if wanted.bwlimit else app.settings.client.bwlimit
        rate = await stack.enter_async_context(wiring.limited(timetable, clock))
        show = stack.enter_context(Foreground(app, f"watch {wanted.directory}"))
        notes = stack.enter_context(Notes(app, clock))
        server = Server(app, wanted, rate, show, clock)
        if is_elsewhere(wanted.to):
            return await _watch(server.elsewhere(parse(wanted.to), notes), stop)
        place = await server.place(stop)
        if place is None:
            return OK
        await notes.sent([Tree(os.path.realpath(wanted.directory), place.path)], place)
        return await _watch(Station(server, server, notes, place), stop)


async def _watch(station: "Station", stop: Stop) -> int:
    """Watch a directory whose destination is known, and tell how it stands at the end."""
    server, show = station.server, station.server.show
    hot = server.wanted.hot(server.app, station.place)
    lane = Lane(station.transport, server.options().parallel, station.notes.digests)
    if server.wanted.once:
        return show.tell(await watch_once(hot, lane, show, stop.event, server.clock))
    server.app.display.note(f"watching {hot.root} for {station.place}; Ctrl-C ends it")
    await watch(hot, lane, show, stop.event, server.clock)
    return OK


@dataclass(frozen=True)
class Station:
    """Where files go, and the notes about it."""

    server: "Server"
    transport: Transport
    notes: Notes
    place: Place | Elsewhere


@dataclass(frozen=True)
class Server:
    """The dataset as a Transport; it is looked for anew for each session, so that a new token counts."""

    app: App
    wanted: Wanted
    rate: Rate
    show: Foreground
    clock: Clock

    def options(self) -> wiring.Options:
        """Return how the dataset is used."""
        return self.wanted.options(self.app)

    def elsewhere(self, place: Elsewhere, notes: Notes) -> Station:
        """Return a place that is no server, which is not asked what its address means."""
        settings, waiting = self.app.settings, self.show.waiting
        return Station(self, open_place(place, self.options(), settings, self.clock, waiting, self.rate), notes, place)

    async def place(self, stop: Stop) -> Place | None:
        """Find out what the address names; a watch that goes on waits for its server, None when it was stopped."""
        while not stop.asked:
            try:
                async with reach(self.app, self.wanted.to) as there:
                    return there.dataset()
            except DrayError as error:
                if self.wanted.once or error.retry == "never":
                    raise
                self.show.waiting(f"{error}; next try in {EVERY:.0f} s")
            await first(stop.event.wait(), timeout=EVERY)
        return None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        """Sign in and open the dataset."""
        options = self.options()
        async with (
            reach(self.app, self.wanted.to, self.rate, options.parallel) as there,
            destination(there.api, there.dataset(), options, self.clock, self.show.waiting) as session,
        ):
            yield session
