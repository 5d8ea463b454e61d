"""``dray start``."""

import click

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.exits import OK


@define(
    "start",
    examples=(
        "dray start                # the agent, with every hot directory of the settings",
        "dray start lab            # one that was stopped",
        "dray start --foreground   # for a service manager, or to look at what it does",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--foreground", is_flag=True, help="Be the agent, instead of starting one; ends with Ctrl-C.")
@click.option("--detached", is_flag=True, hidden=True)
def command(app: App, names: tuple[str, ...], foreground: bool, detached: bool) -> int:
    """Start the agent in the background, or hot directories that were stopped.

    One agent looks after all hot directories of the settings, and takes changed settings within a second. It runs until
    `dray stop` or the next boot: `dray service install` makes it last, or `dray sanity` in a crontab.
    """
    from dray.cli.daemon import Daemon, started
    from dray.cli.keeper import keep
    from dray.wiring.hot import configured

    daemon = Daemon(app)
    meant = daemon.known(names)
    configured(app.loaded)
    if foreground:
        return keep(app, detached)
    daemon.want(started(meant))
    if daemon.status() is None:
        daemon.start()
    elif not daemon.reached(meant, lambda state: state != "stopped"):
        app.display.warn("the agent has not noticed yet; see dray status")
    else:
        app.display.note("the agent runs")
    return OK
