"""``dray restart``."""

import click

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.exits import OK, TEMPORARY


@define("restart", examples=("dray restart", "dray restart lab"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(app: App, names: tuple[str, ...]) -> int:
    """Stop and start the agent, or single hot directories."""
    from dray.cli.daemon import Daemon, started, stopped

    daemon = Daemon(app)
    meant = daemon.known(names)
    if names:
        daemon.want(stopped(meant))
        ended = daemon.reached(meant, lambda state: state == "stopped")
        daemon.want(started(meant))
        return OK if ended and daemon.reached(meant, lambda state: state != "stopped") else TEMPORARY
    daemon.want(started(()))
    app.display.note(daemon.stop())
    daemon.start()
    return OK
