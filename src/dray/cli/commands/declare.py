"""``dray declare``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK, PARTIAL
from dray.errors import DrayError, NotFound

if TYPE_CHECKING:
    from dray.wiring.hot import Configured


class BrokerThing(msgspec.Struct, frozen=True):
    """One exchange, queue or binding of a hot directory at its broker: it was there, made, or is missing."""

    hot: str
    kind: str
    name: str
    state: str
    reason: str


OUTPUT = {"broker.thing": BrokerThing}

COLUMNS = (
    Column("hot directory", "hot"),
    Column("state", "state"),
    Column("what", "kind"),
    Column("name", "name"),
    Column("why", lambda one: one.reason or None),
)


@define(
    "declare",
    examples=(
        "dray declare                # for all hot directories with a broker",
        "dray declare lab --json",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(app: App, names: tuple[str, ...]) -> int:
    """Make the exchanges, queues and bindings that hot directories need at their brokers.

    What is there already is left as it is. The agent does the same when it starts; this command says beforehand what
    the broker allows, and lets announcements wait in a queue before anybody takes them.
    """
    from dray.wiring.hot import configured

    found = {name: one for name, one in configured(app.loaded).items() if one.brokered is not None}
    meant = [_named(found, name) for name in names] or list(found.values())
    if not meant:
        raise NotFound("no hot directory has a broker", hint="add a table [hot.NAME.broker] to the settings")
    return app.run(lambda stop: _declare(app, meant))


def _named(found: dict[str, "Configured"], name: str) -> "Configured":
    if name not in found:
        hint = f"there are: {', '.join(found) or 'none'}"
        raise NotFound("no hot directory of this name has a broker", item=name, hint=hint)
    return found[name]


async def _declare(app: App, meant: Sequence["Configured"]) -> int:
    """Declare for each, and go on with the next one where that fails."""
    problems: list[DrayError] = []
    good = 0
    with app.display.listing("broker.thing", COLUMNS) as listing:
        for one in meant:
            for thing, problem in await _things(one):
                listing.add(thing)
                good += problem is None
                problems += [problem] if problem is not None else []
    for problem in problems:
        app.display.warn(str(problem))
    codes = {problem.exit_code for problem in problems}
    return OK if not codes else codes.pop() if len(codes) == 1 and not good else PARTIAL


async def _things(one: "Configured") -> list[tuple[BrokerThing, DrayError | None]]:
    from dray.wiring.broker import declare

    brokered = one.brokered
    if brokered is None:
        return []
    try:
        declared = await declare(brokered)
    except DrayError as error:
        return [(BrokerThing(one.name, "broker", str(brokered.address), "missing", error.message), error)]
    return [
        (
            BrokerThing(one.name, each.kind, each.name, each.state, each.problem.message if each.problem else ""),
            each.problem,
        )
        for each in declared
    ]
