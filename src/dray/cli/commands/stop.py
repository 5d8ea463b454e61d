"""``dray stop``."""

import click
import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.exits import OK, TEMPORARY
from dray.config.parse import parse_duration


@define("stop", examples=("dray stop                  # everything", "dray stop lab              # one hot directory"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--timeout", default="30s", metavar="TIME", show_default=True, help="Then it is killed.")
def command(app: App, names: tuple[str, ...], timeout: str) -> int:
    """Stop the agent, or single hot directories, and keep them stopped.

    What is on its way arrives first. Nothing is lost either way: what has not arrived is sent after the next start.
    """
    from dray.cli.daemon import Daemon, stopped

    daemon = Daemon(app)
    if names:
        meant = daemon.known(names)
        daemon.want(stopped(meant))
        return OK if daemon.reached(meant, lambda state: state == "stopped", parse_duration(timeout)) else TEMPORARY
    daemon.want(lambda wanted: msgspec.structs.replace(wanted, running=False))
    app.display.note(daemon.stop(parse_duration(timeout)))
    return OK
