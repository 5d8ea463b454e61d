"""``dray cleanup``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dray.agent.ledger import alone
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK
from dray.errors import DrayError, UsageError
from dray.model.agent import Wanted

if TYPE_CHECKING:
    from dray.wiring.hot import Configured


class Removed(msgspec.Struct, frozen=True):
    """A file or queue that belonged to a hot directory (without a name: to one that is not configured any more)."""

    name: str
    path: str


OUTPUT = {"hot.cleanup": Removed}
COLUMNS = (Column("hot directory", lambda one: one.name or None), Column("removed", "path"))


@define(
    "cleanup", examples=("dray cleanup lab --yes", "dray cleanup --unused --yes   # of all that are not configured")
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--unused", is_flag=True, help="Journals of hot directories that are not configured any more.")
@click.option("--yes", is_flag=True, help="Do it; else what would be removed is shown.")
def command(app: App, names: tuple[str, ...], unused: bool, yes: bool) -> int:
    """Forget what is known of hot directories: journals, and what is paused or stopped.

    No data is touched, here or there. A directory whose journal is gone is looked at as if it were new: what its
    destination has already is found there and not sent again. A queue whose name was chosen for a hot directory is
    deleted at its broker; one that the settings name is left to those that share it.
    """
    from dray.cli.daemon import Daemon
    from dray.wiring.hot import configured

    if not names and not unused:
        raise UsageError("nothing is named", hint="name hot directories, or --unused")
    daemon, found = Daemon(app), configured(app.loaded)
    journals = {found[name].hot.journal: name for name in (daemon.known(names) if names else ())}
    if unused:
        journals |= dict.fromkeys(_unused({one.hot.journal for one in found.values()}), "")
    removed = [one for name in names for one in _queues(app, found[name], really=yes)]
    removed += [one for journal, name in journals.items() for one in _removed(journal, name, really=yes)]
    if yes:
        daemon.want(partial(_forgotten, names))
    app.display.rows("hot.cleanup", removed, COLUMNS, empty="nothing is there")
    if removed and not yes:
        app.display.note("nothing was removed: add --yes")
    return OK


def _removed(journal: Path, name: str, *, really: bool) -> list[Removed]:
    """Remove a journal with everything beside it that has its name, while no agent can use it; say what."""
    with alone(journal):
        found = sorted(journal.parent.glob(f"{journal.stem}.*"))
        for path in found if really else ():
            path.unlink(missing_ok=True)
    return [Removed(name, str(path)) for path in found]


def _queues(app: App, one: "Configured", *, really: bool) -> list[Removed]:
    """Delete the queue that a hot directory has for itself; a broker that is away does not keep the rest from going."""
    from dray.wiring.broker import own_queue, remove_queue

    brokered = one.brokered
    queue = own_queue(brokered) if brokered is not None else None
    if brokered is None or queue is None:
        return []
    try:
        if really:
            app.run(lambda stop: remove_queue(brokered, queue))
    except DrayError as error:
        app.display.warn(f"queue {queue} stays, ask who looks after the broker: {error}")
        return []
    return [Removed(one.name, f"queue {queue} of {brokered.address}")]


def _unused(used: set[Path]) -> list[Path]:
    from dray.config import paths

    return [path for path in sorted((paths.user_state_dir() / "hot").glob("*.sqlite")) if path not in used]


def _forgotten(names: tuple[str, ...], wanted: Wanted) -> Wanted:
    paused = {name: pause for name, pause in wanted.paused.items() if name not in names}
    stopped = tuple(name for name in wanted.stopped if name not in names)
    return msgspec.structs.replace(wanted, paused=paused, stopped=stopped)
