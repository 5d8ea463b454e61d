"""``dray version``."""

import platform
from importlib.metadata import version

import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column


class Versions(msgspec.Struct, frozen=True):
    """What runs here."""

    dray: str
    python: str
    system: str


OUTPUT = {"version": Versions}
FIELDS = (Column("dray", "dray"), Column("python", "python"), Column("system", "system"))


@define("version", examples=("dray version",), needs_settings=False)
def command(app: App) -> None:
    """Show the version of Dray and of what it runs on."""
    found = Versions(version("dray"), platform.python_version(), platform.platform())
    app.display.record("version", found, FIELDS)
