"""``dray check``."""

from collections import Counter
from contextlib import AsyncExitStack, aclosing
from typing import Any

import click
import msgspec

from dray.cli import exits
from dray.cli.carry import Common, Line
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Listing
from dray.cli.interrupt import Stop
from dray.cli.notes import Notes
from dray.cli.reach import reach
from dray.client.address import Place
from dray.client.elsewhere import Elsewhere, is_elsewhere
from dray.clock import SystemClock
from dray.fs import Root
from dray.model.filters import Filters
from dray.moving.compare import Compared, Comparison, Symbol
from dray.moving.here import Here
from dray.moving.reread import Reader
from dray.moving.walk import Tree, Walk, trees
from dray.threads import in_thread
from dray.transports.base import Session


class Summary(msgspec.Struct, frozen=True):
    """How many names there are of each symbol; ``place`` is the address that was compared."""

    same: bool
    place: str
    symbols: dict[Symbol, int]


OUTPUT = {"compared": Compared, "compared.summary": Summary}
WORDS: dict[Symbol, str] = {"=": "same", "-": "only there", "+": "only here", "*": "different", "!": "not compared"}


class Wanted(Common, frozen=True, kw_only=True):
    """The command line."""

    local: str
    where: str
    different: bool = False


@define(
    "check",
    examples=(
        "dray check run7 http://127.0.0.1:8080/beamtime      # compares with beamtime/run7, if there is one",
        "dray check run7/ beamtime --different               # the contents with the dataset, differences only",
        "dray check run7 sftp://hpfx/data                    # with an account behind ssh",
        'dray check run7/ beamtime --filter "- tmp/**" --json',
    ),
)
@click.argument("local", metavar="PATH")
@click.argument("where", metavar="URL/DATASET[/PATH]|sftp://HOST/PATH|s3://BUCKET/PREFIX")
@click.option("--filter", "filters", multiple=True, metavar="RULE", help='Ordered rules: "+ *.h5", "- tmp/**".')
@click.option("-d", "--different", is_flag=True, help="Leave out what is the same.")
def command(app: App, **given: Any) -> int:
    """Compare a local directory with a dataset, file by file.

    Prints a symbol and a path for each: = same, - only in the dataset, + only local, * different, ! could not be
    compared. Content counts, times do not. Exit code 6 when anything differs.
    """
    wanted = msgspec.convert(given, Wanted)
    summary = app.run(lambda stop: _check(app, wanted, stop))
    counts = ", ".join(f"{count:,} {WORDS[symbol]}" for symbol, count in sorted(summary.symbols.items()))
    app.display.note(f"compared with {summary.place}: {counts or 'nothing on either side'}")
    return _exit(summary)


async def _check(app: App, wanted: Wanted, stop: Stop) -> Summary:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        notes = stack.enter_context(Notes(app, clock))
        listing = stack.enter_context(app.display.listing("compared", ()))
        progress = stack.enter_context(app.progress("check"))
        there = Line(app, wanted.options(app), clock, progress)
        if is_elsewhere(wanted.where):
            _, place, session, _ = await stack.enter_async_context(there.elsewhere(wanted.where, "check"))
        else:
            server = await stack.enter_async_context(reach(app, wanted.where))
            await server.api.dataset(server.dataset().dataset)  # an unknown one is an error, an empty one is not
            _, place, session, _ = await stack.enter_async_context(there.dataset(server))
        tree = await _tree(wanted.local, place.path if isinstance(place, Place) else "", session)
        root = stack.enter_context(Root(tree.root))
        here = Here(root, Reader(root, notes.known, clock, progress, stop.event))
        walk = Walk(Filters.parse(wanted.filters), clock.wall())
        show = Show(app, listing, different=wanted.different)
        async with aclosing(Comparison(tree, walk, session, here, progress.expect).run()) as compared:
            async for one in compared:
                show.add(one)
        summary = Summary(set(show.symbols) <= {"="}, _where(place, tree), dict(show.symbols))
        listing.summary(summary)
        return summary


def _where(place: Place | Elsewhere, tree: Tree) -> str:
    """Return the address of what was compared."""
    if isinstance(place, Place):
        return str(Place(place.server, place.dataset, tree.prefix))
    return f"{place}/{tree.prefix}" if tree.prefix else str(place)


async def _tree(local: str, path: str, session: Session) -> Tree:
    """Return what is compared: a folder with its own name at the place where that is there, else its contents."""
    (tree,) = await in_thread(None, trees, (local,), path)
    if tree.names is not None or tree.prefix == path:
        return tree
    async for _ in session.list(tree.prefix):
        return tree
    return Tree(tree.root, path)


class Show:
    """Shows what was compared: a symbol and a path a line, or JSON."""

    def __init__(self, app: App, listing: Listing, *, different: bool) -> None:
        self._display = app.display
        self._listing = listing
        self._different = different
        self.symbols: Counter[Symbol] = Counter()

    def add(self, one: Compared) -> None:
        """Count one name and show it, if it is wanted."""
        self.symbols[one.symbol] += 1
        if one.symbol == "=" and self._different:
            return
        if self._display.output != "text":
            self._listing.add(one)
        self._display.text(f"{one.symbol} {one.path}")
        if one.symbol == "!":
            self._display.warn(f"{one.path}: {one.reason}")


def _exit(summary: Summary) -> int:
    if summary.same:
        return exits.OK
    return exits.INTEGRITY if set(summary.symbols) & {"-", "+", "*"} else exits.PARTIAL
