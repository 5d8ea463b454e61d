"""The hot directories in ``dray status``: a row each, and what stands behind it."""

import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from dray.agent.journal import standing
from dray.agent.tracker import unattended
from dray.cli import format
from dray.cli.context import App
from dray.cli.daemon import HANGS, Daemon
from dray.cli.display import Column
from dray.cli.exits import OK, PARTIAL, TEMPORARY
from dray.clock import Clock
from dray.model.agent import AgentStatus, HotStatus

ILL = frozenset(("waiting", "broken"))


class Overseer(msgspec.Struct, frozen=True):
    """The agent: whether it runs, whether it is wanted to, and whether it hangs (gives no sign of life)."""

    running: bool
    wanted: bool
    hangs: bool
    pid: int | None
    started: float | None
    version: str
    settings_error: str


OUTPUT = {"hot.status": HotStatus, "hot.status.summary": Overseer}


def _lag(one: HotStatus) -> str | None:
    return " ".join(map(format.duration, (one.lag.last, one.lag.mean, one.lag.max))) if one.lag else None


def _retry(one: HotStatus) -> str | None:
    if one.retrying is None:
        return None
    return f"{one.retrying.files:,}, next {format.when(one.retrying.next_try)[11:]}"


def _note(one: HotStatus) -> str | None:
    """Say the most pressing thing."""
    if one.why:
        return one.why + (f", until {format.when(one.until)}" if one.until else "")
    if one.retrying is not None:
        return one.retrying.reason
    if one.trouble:
        return f"{format.count(one.trouble, 'file')} failed or refused: dray show {one.name}"
    if one.last_error and one.last_error_at is not None:
        return f"{format.when(one.last_error_at)} {one.last_error}"
    return None


COLUMNS = (
    Column("hot directory", "name"),
    Column("state", "state"),
    Column("run", lambda one: f"{one.running}/{one.wanted}", right=True),
    Column("queued", lambda one: f"{one.queued:,}", right=True),
    Column("size", lambda one: format.size(one.queued_bytes), right=True),
    Column("retrying", _retry),
    Column("sent", lambda one: f"{one.sent:,}", right=True),
    Column("files/s", lambda one: f"{one.files_per_second:.1f}", right=True),
    Column("bytes/s", lambda one: format.size(one.bytes_per_second), right=True),
    Column("lag last mean max", _lag),
    Column("last file", lambda one: one.last_file or None),
    Column("why", _note),
)


def show(app: App, names: Sequence[str], clock: Clock) -> int:
    """Show hot directories and their agent; return the exit code."""
    daemon = Daemon(app)
    meant = daemon.known(names)
    status, now = daemon.status(), clock.wall()
    overseer = _overseer(daemon, status, now)
    app.display.note(in_words(overseer, now))
    rows = [one for one in _rows(app, status, overseer, now) if one.name in meant]
    with app.display.listing("hot.status", COLUMNS, "no hot directory is configured") as listing:
        for one in rows:
            listing.add(one)
        listing.summary(overseer)
    return code(overseer, rows)


def _overseer(daemon: Daemon, status: AgentStatus | None, now: float) -> Overseer:
    wanted = daemon.control.wanted().running
    if status is None:
        return Overseer(daemon.control.is_held(), wanted, False, None, None, "", "")
    hangs = now - status.at > HANGS
    return Overseer(True, wanted, hangs, status.pid, status.started, status.version, status.settings_error)


def in_words(one: Overseer, now: float) -> str:
    """Return a line about the agent."""
    if not one.running:
        return "no agent runs; " + ("it should: dray sanity starts it" if one.wanted else "dray start starts it")
    if one.started is None:
        return "the agent is about to begin"
    text = f"the agent runs since {format.when(one.started)}, process {one.pid}, Dray {one.version}"
    if one.hangs:
        text += "; it gives no sign of life: dray sanity restarts it"
    if one.settings_error:
        text += f"; changed settings were NOT taken: {one.settings_error}"
    return text


def _rows(app: App, status: AgentStatus | None, overseer: Overseer, now: float) -> list[HotStatus]:
    """Return what the agent says, and how those stand that it does not look after."""
    from dray.wiring.hot import configured

    told = {one.name: one for one in status.hot} if status is not None else {}
    why = "the agent has not noticed it yet" if overseer.running else "no agent runs"
    return [
        told.get(name) or unattended(name, one.hot.root, one.settings.to, standing(one.hot.journal, now), why)
        for name, one in configured(app.loaded).items()
    ]


def code(overseer: Overseer, rows: Sequence[HotStatus]) -> int:
    """Return the exit code, for whoever watches over it all."""
    if overseer.hangs or (overseer.wanted and not overseer.running):
        return TEMPORARY
    ill = any(one.state in ILL or one.trouble or one.retrying for one in rows) or bool(overseer.settings_error)
    return PARTIAL if ill else OK


def follow(app: App, names: Sequence[str], clock: Clock, every: float, clear: str) -> int:
    """Show it again and again, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            if app.display.look.moves and app.display.output == "text":
                app.out.write(clear)
            show(app, names, clock)
            app.out.flush()
            time.sleep(every)
    return OK
