"""``dray show``."""

import tempfile
from contextlib import closing
from pathlib import Path

import click
import msgspec

from dray.cli import format
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK


class Shown(msgspec.Struct, frozen=True):
    """How many files of a hot directory are in one state for one reason, one of them as an example."""

    name: str
    state: str
    files: int
    bytes: int
    reason: str
    example: str


class Effective(msgspec.Struct, frozen=True):
    """The settings in force of the hot directories, and where their journals lie, by name."""

    settings: dict[str, dict[str, str]]
    journals: dict[str, str]


OUTPUT = {"hot.show": Shown, "hot.show.summary": Effective}

COLUMNS = (
    Column("hot directory", "name"),
    Column("state", "state"),
    Column("files", lambda one: f"{one.files:,}", right=True),
    Column("size", lambda one: format.size(one.bytes), right=True),
    Column("why", lambda one: one.reason or None),
    Column("for example", "example"),
)


@define("show", examples=("dray show", "dray show lab --json"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(app: App, names: tuple[str, ...]) -> int:
    """Show the settings of hot directories that are in force, and their files by state and reason.

    The files are counted on a copy of the journal, so that the agent is not kept waiting.
    """
    from dray.cli.daemon import Daemon
    from dray.config import load, named
    from dray.wiring.hot import configured

    meant = Daemon(app).known(names)
    found = configured(app.loaded)
    settings = {
        name: {key: str(load.plain(load.value_of(app.settings, f"hot.{name}.{key}"))) for key in named.fields()}
        for name in meant
    }
    with app.display.listing("hot.show", COLUMNS, "") as listing:
        for name in meant:
            _said(app, name, settings[name])
            for one in _counted(name, found[name].hot.journal):
                listing.add(one)
        listing.summary(Effective(settings, {name: str(found[name].hot.journal) for name in meant}))
    return OK


def _said(app: App, name: str, settings: dict[str, str]) -> None:
    if app.display.output == "text":
        app.display.line(f"[hot.{name}]")
        for key, value in settings.items():
            if value not in ("None", "[]"):
                app.display.line(f"  {key} = {value}")


def _counted(name: str, journal: Path) -> list[Shown]:
    from dray.agent.journal import Journal, snapshot

    with tempfile.TemporaryDirectory(prefix="dray-show-") as scratch:
        copy = Path(scratch) / "journal.sqlite"
        snapshot(journal, copy)
        if not copy.exists():
            return []
        with closing(Journal(copy)) as opened:
            return [Shown(name, t.state, t.files, t.bytes, t.reason, t.example.path) for t in opened.tallies()]
