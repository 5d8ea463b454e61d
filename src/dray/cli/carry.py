"""What the commands that move files have in common: options, connection, audience, end."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import click
import msgspec

from dray.cli import tally
from dray.cli.context import App
from dray.cli.gauge import OutcomeEvent, Progress
from dray.cli.notes import Notes
from dray.cli.reach import Reached, reach
from dray.cli.tally import Summary, Tally
from dray.client.address import Place
from dray.client.api import Api
from dray.client.elsewhere import Elsewhere, is_elsewhere, parse
from dray.client.rate import Rate
from dray.clock import Clock, SystemClock
from dray.config.parse import parse_duration, parse_timetable
from dray.transports.base import Session
from dray.wiring import client as wiring
from dray.wiring.destinations import open_place, reading

OUTPUT = {"file.outcome": OutcomeEvent, "file.outcome.summary": Summary}

F = TypeVar("F", bound=Callable[..., object])

_OPTIONS = (
    click.option(
        "--filter", "filters", multiple=True, metavar="RULE",
        help='Ordered rules, the first that matches wins: "+ *.h5" takes, "- tmp/**" leaves out.',
    ),
    click.option("--dry-run", is_flag=True, help="Print the exact plan and change nothing."),
    click.option("--bwlimit", metavar="RATE", help='Bytes a second, or a timetable: 10M, "08:00,10M 18:00,off".'),
    click.option("--parallel", type=click.IntRange(1, 64), help="Connections that carry bytes at the same time."),
    click.option("--retry-for", metavar="TIME", help="Go on for so long without progress while the server is away."),
)  # fmt: skip


def moving_options(function: F) -> F:
    """Add the options that upload and download share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """The values of those options."""

    filters: tuple[str, ...] = ()
    dry_run: bool = False
    bwlimit: str | None = None
    parallel: int | None = None
    retry_for: str | None = None

    def options(self, app: App, *, wait: bool = True, create: bool = True) -> wiring.Options:
        """Return how the dataset is used, as the options and settings say."""
        client = app.settings.client
        retry_for = parse_duration(self.retry_for) if self.retry_for else client.retry_for
        return wiring.Options(parallel=self.parallel or client.parallel, retry_for=retry_for, wait=wait, create=create)


@dataclass(frozen=True)
class Carried:
    """An open place and who listens to what is done with it; ``api`` is that of its server.

    ``name`` is what a copy of the folder is called that is read, unless its contents or a single file are.
    """

    api: Api | None
    place: Place | Elsewhere
    session: Session
    audience: Tally
    progress: Progress
    notes: Notes
    clock: Clock
    name: str = ""

    @property
    def path(self) -> str:
        """Return where in the session the place begins."""
        return self.place.path if isinstance(self.place, Place) else ""


@asynccontextmanager
async def carrying(app: App, where: str, title: str, common: Common, options: wiring.Options) -> AsyncIterator[Carried]:
    """Open everything that moving files to or from ``where`` needs; at the end the summary is shown."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        timetable = parse_timetable(common.bwlimit) if common.bwlimit else app.settings.client.bwlimit
        rate = await stack.enter_async_context(wiring.limited(timetable, clock))
        server = (
            None if is_elsewhere(where) else await stack.enter_async_context(reach(app, where, rate, options.parallel))
        )
        notes = stack.enter_context(Notes(app, clock))
        listing = stack.enter_context(app.display.listing("file.outcome", tally.COLUMNS))
        progress = stack.enter_context(app.progress(title))
        there = Line(app, options, clock, progress, rate)
        opened = there.elsewhere(where, title) if server is None else there.dataset(server)
        api, place, session, name = await stack.enter_async_context(opened)
        audience = Tally(app.display, listing, progress, thorough=common.dry_run, waits=options.wait)
        yield Carried(api, place, session, audience, progress, notes, clock, name)
        listing.summary(audience.summary())


Opening: TypeAlias = tuple[Api | None, Place | Elsewhere, Session, str]
"""What was opened: its server if it has one, its address, the session, the name of the folder that is read."""


@dataclass(frozen=True)
class Line:
    """How a place is used; opens it, whichever it is. What is read keeps the ``name`` of its folder."""

    app: App
    options: wiring.Options
    clock: Clock
    progress: Progress
    rate: Rate | None = None

    @asynccontextmanager
    async def dataset(self, there: Reached) -> AsyncIterator[Opening]:
        """Open a dataset of a server."""
        place = there.dataset()
        async with wiring.dataset(there.api, place, self.options, self.clock, self.progress) as session:
            yield there.api, place, session, ""

    @asynccontextmanager
    async def elsewhere(self, where: str, title: str) -> AsyncIterator[Opening]:
        """Open a place that is no server: to write for an upload, else to read."""
        place, settings, waiting = parse(where), self.app.settings, self.progress.waiting
        if title == "upload":
            writing = open_place(place, self.options, settings, self.clock, waiting, self.rate)
            async with writing.connect() as session:
                yield None, place, session, ""
        else:
            async with reading(place, self.options, settings, self.clock, waiting, self.rate) as opened:
                session = opened.thorough if title == "check" else opened.session
                yield None, place, session, opened.name
