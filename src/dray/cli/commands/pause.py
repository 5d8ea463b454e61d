"""``dray pause`` and ``dray resume``."""

import click
import msgspec

from dray.cli import format
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.exits import OK
from dray.clock import SystemClock
from dray.config.parse import parse_duration
from dray.model.agent import Pause, Wanted


@define(
    "pause", examples=("dray pause --for 2h       # everything", "dray pause lab            # until dray resume lab")
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--for", "span", metavar="TIME", help="End the pause after that.")
def pause(app: App, names: tuple[str, ...], span: str | None) -> int:
    """Let hot directories rest; what appears meanwhile is sent afterwards. A pause outlasts restarts and reboots."""
    from dray.cli.daemon import Daemon

    daemon, now = Daemon(app), SystemClock().wall()
    meant = daemon.known(names)
    until = now + parse_duration(span) if span else None

    def paused(wanted: Wanted) -> Wanted:
        return msgspec.structs.replace(wanted, paused={**wanted.paused, **dict.fromkeys(meant, Pause(now, until))})

    daemon.want(paused)
    daemon.reached(meant, lambda state: state in ("paused", "stopped"))
    app.display.note(f"paused {', '.join(meant)}" + (f" until {format.when(until)}" if until else ""))
    return OK


@define("resume", examples=("dray resume", "dray resume lab"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def resume(app: App, names: tuple[str, ...]) -> int:
    """End the pause of hot directories."""
    from dray.cli.daemon import Daemon

    daemon = Daemon(app)
    meant = daemon.known(names)

    def resumed(wanted: Wanted) -> Wanted:
        return msgspec.structs.replace(wanted, paused={n: p for n, p in wanted.paused.items() if n not in meant})

    daemon.want(resumed)
    daemon.reached(meant, lambda state: state != "paused")
    app.display.note(f"resumed {', '.join(meant)}")
    return OK
