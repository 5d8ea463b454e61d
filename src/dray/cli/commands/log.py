"""``dray log``."""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.exits import OK
from dray.errors import NotFound

LOOKS = 0.3
"""Seconds between two looks for new lines."""


@define("log", examples=("dray log", "dray log -f lab                    # as it is written, of one hot directory"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, until Ctrl-C.")
@click.option("-n", "--lines", default=50, show_default=True, help="Lines from before.")
def command(app: App, names: tuple[str, ...], follow: bool, lines: int) -> int:
    """Show what the agent wrote into its log, of some hot directories or all."""
    from dray.cli.daemon import Daemon

    daemon = Daemon(app)
    marks = [f"[{name}]" for name in (daemon.known(names) if names else ())]
    path = Path(app.settings.log.file).expanduser() if app.settings.log.file else daemon.control.log
    if not path.exists():
        raise NotFound("there is no log yet", item=str(path), hint="dray start makes one")
    with suppress(KeyboardInterrupt):
        for line in _lines(path, lines, marks, follow):
            app.display.line(line)
            app.out.flush()
    return OK


def _lines(path: Path, before: int, marks: list[str], follow: bool) -> Iterator[str]:
    """Yield the last lines about these names, then those that are written; a rotated file is followed."""
    file = path.open(encoding="utf-8", errors="replace")
    try:
        yield from deque((line.rstrip("\n") for line in file if _about(line, marks)), maxlen=before)
        while follow:
            line = file.readline()
            if line:
                if _about(line, marks):
                    yield line.rstrip("\n")
            elif _replaced(path, file.fileno()):
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
            else:
                time.sleep(LOOKS)
    finally:
        file.close()


def _about(line: str, marks: list[str]) -> bool:
    return not marks or any(mark in line for mark in marks)


def _replaced(path: Path, opened: int) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False
