"""``dray features``."""

import importlib.util
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK


class Feature(msgspec.Struct, frozen=True):
    """Something that Dray can do here, or could if ``brings`` were installed; ``by`` is what does it."""

    feature: str
    there: bool
    by: str
    brings: str


OUTPUT = {"feature": Feature}
COLUMNS = (
    Column("feature", "feature"),
    Column("", lambda one: "yes" if one.there else "no"),
    Column("by", lambda one: one.by or None),
    Column("what brings it", lambda one: None if one.there else one.brings),
)

PACKAGES = (
    ("fast event loop", "uvloop", "pip install uvloop"),
    ("messages over AMQP", "aio_pika", 'pip install "dray[amqp]"'),
    ("noticing without inotify", "watchfiles", "pip install watchfiles"),
    ("PostgreSQL", "psycopg", 'pip install "dray[postgres]"'),
    ("HTTP", "pycurl", "pip install pycurl"),
)
PROGRAMS = (
    ("accounts behind ssh", "ssh", "the package openssh-client"),
    ("service of the system", "systemctl", "systemd; without it: dray start, and dray sanity in a crontab"),
)


@define("features", examples=("dray features", "dray features --json"), needs_settings=False)
def command(app: App) -> int:
    """Show what works here, what does not and which package brings it, and where settings and state lie."""
    app.display.rows("feature", list(_features(app)), COLUMNS)
    return OK


def _features(app: App) -> Iterator[Feature]:
    for title, module, brings in PACKAGES:
        there = importlib.util.find_spec(module) is not None
        yield Feature(title, there, module if there else "", brings)
    for title, program, brings in PROGRAMS:
        path = shutil.which(program)
        yield Feature(title, path is not None, path or "", brings)
    notices = platform.system() == "Linux"
    yield Feature("noticing at once", notices, "inotify" if notices else "", "Linux; elsewhere changes are heard late")
    yield from _places(app)


def _places(app: App) -> Iterator[Feature]:
    from dray.config import paths
    from dray.wiring.control import control

    places = {
        "settings of the system": paths.system_config_file(),
        "settings": paths.user_config_file(app.environ, app.choices.config),
        "journals": paths.user_state_dir() / "hot",
        "agent and its log": control().folder,
    }
    for title, path in places.items():
        there = Path(path).exists()
        yield Feature(title, there, str(path), f"not there yet: {path}")
