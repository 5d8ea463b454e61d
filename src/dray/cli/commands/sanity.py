"""``dray sanity``."""

import msgspec

from dray.cli import format
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK
from dray.clock import SystemClock


class Sanity(msgspec.Struct, frozen=True):
    """What was found and done: ``fine``, ``started`` (it had died), ``restarted`` (it hung), ``not wanted``."""

    agent: str
    strays: list[int]


OUTPUT = {"sanity": Sanity}


@define("sanity", examples=("dray sanity", "*/5 * * * * dray sanity --quiet     # a line of a crontab"))
def command(app: App) -> int:
    """Mend the agent: start it again when it died, restart it when it hangs, end what it left behind.

    Meant for a crontab, where there is no systemd. An agent that somebody stopped stays stopped.
    """
    from dray.cli.daemon import Daemon

    daemon = Daemon(app)
    done = "fine"
    if daemon.hangs(SystemClock()):
        daemon.kill()
        done = "restarted"
    strays = daemon.end_strays()
    if not daemon.control.wanted().running and not daemon.control.is_held():
        done = "not wanted"
    elif not daemon.control.is_held():
        daemon.start()
        done = "started" if done == "fine" else done
    columns = [
        Column("agent", "agent"),
        Column("strays ended", lambda one: format.count(len(one.strays), "process", "processes")),
    ]
    if done not in ("fine", "not wanted") or strays or not app.choices.quiet:
        app.display.record("sanity", Sanity(done, strays), columns)
    return OK
