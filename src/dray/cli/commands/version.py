"""``dray version``."""

import platform

from dray.cli.command import define
from dray.cli.context import App


@define("version", examples=("dray version",), needs_settings=False)
def command(app: App) -> None:
    """Show the version of Dray and of what it runs on."""
    from importlib.metadata import version

    from dray.cli.display import Column

    value = {"dray": version("dray"), "python": platform.python_version(), "system": platform.platform()}
    fields = (Column("dray", "dray"), Column("python", "python"), Column("system", "system"))
    app.display.record("version", value, fields)
