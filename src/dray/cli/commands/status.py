"""``dray status``."""

from collections.abc import Iterator

import click

from dray.cli import format, hot_status
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK
from dray.cli.interrupt import Stop
from dray.cli.reach import reach
from dray.client.address import is_address
from dray.client.api import Api
from dray.clock import SystemClock
from dray.config.parse import parse_duration
from dray.errors import NotFound, Temporary
from dray.model.views import QueueStatus, ServerStatus, StoreStatus

OUTPUT = {"status": ServerStatus, **hot_status.OUTPUT}
LITTLE = 0.05
"""Share of a store below which its free space is called little."""

CLEAR = "\x1b[H\x1b[2J"


@define(
    "status",
    examples=(
        "dray status                         # the hot directories of the settings; without any, the server",
        "dray status lab                     # one of them",
        "dray status http://127.0.0.1:8080   # a server",
        "dray status --watch                 # live, until Ctrl-C",
        "dray status --json",
    ),
)
@click.argument("where", nargs=-1, metavar="[NAME]...|[URL]")
@click.option("-w", "--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
@click.option("--every", default="2s", metavar="TIME", show_default=True, help="How often, with --watch.")
def command(app: App, where: tuple[str, ...], watch: bool, every: str) -> int:
    """Show hot directories with their agent, or a server with its queue, and why something waits.

    Of hot directories: state, senders at work of those wanted, what is queued, what is tried again and when, rates of
    the last minute, how long files took from their last change here to being verified there (the last one, the mean
    and the most of 1,000), the last file, and the most pressing trouble. Exit code 11: something of it needs a look.
    """
    pause = parse_duration(every)
    hot = app.settings.hot
    if all(name in hot for name in where) and (where or hot) and not app.choices.url:
        clock = SystemClock()
        return hot_status.follow(app, where, clock, pause, CLEAR) if watch else hot_status.show(app, where, clock)
    if len(where) > 1 or (where and hot and not app.settings.client.url and not is_address(where[0])):
        raise NotFound("no such hot directory", item=" ".join(where), hint=f"there are: {', '.join(hot) or 'none'}")
    url = where[0] if where else None
    app.run(lambda stop: _follow(app, url, stop, pause) if watch else _once(app, url), resume=None)
    return OK


async def _once(app: App, where: str | None) -> None:
    async with reach(app, where) as there:
        _show(app, there.api.server.url, await there.api.status())


async def _follow(app: App, where: str | None, stop: Stop, pause: float) -> None:
    async with reach(app, where) as there:
        while not stop.asked:
            await _look(app, there.api)
            await stop.wait(pause)


async def _look(app: App, api: Api) -> None:
    try:
        status = await api.status()
    except Temporary as error:
        app.display.warn(f"{error}; looking again")
    else:
        if app.display.look.moves and app.display.output == "text":
            app.out.write(CLEAR)
        _show(app, api.server.url, status)


def _show(app: App, url: str, status: ServerStatus) -> None:
    app.display.record("status", status, [_said(title, text) for title, text in lines(url, status)])


def _said(title: str, text: str) -> Column:
    return Column(title, lambda _: text)


def lines(url: str, status: ServerStatus) -> Iterator[tuple[str, str]]:
    """Yield the status as titles and sentences."""
    up = format.duration(status.now - status.started)
    yield "server", f"{url}, Dray {status.version}, up {up}, {status.database}"
    received = format.size(status.bytes_received)
    yield "files", f"{format.count(status.files, 'file')}, {format.size(status.bytes)}; {received} received since start"
    yield "uploads", ", ".join(f"{number:,} {state}" for state, number in status.uploads.items() if number) or "none"
    yield "queue", queue(status.queue, status.now)
    for store in status.stores:
        yield "store", f"{store.name} ({store.kind}): {space(store)}"
    yield from (("needs you", text) for text in needs(status))


def queue(queue: QueueStatus, now: float) -> str:
    """Return how much waits, since when, why, and when it is tried next."""
    parts = [f"{queue.waiting:,} waiting, {queue.running:,} running, {queue.dead:,} dead"]
    if queue.oldest is not None:
        parts.append(f"oldest from {format.ago(queue.oldest, now)}")
    if queue.next_try is not None:
        parts.append(f"next try {format.ago(queue.next_try, now)}")
    if queue.reason:
        parts.append(f"because: {queue.reason}")
    return "; ".join(parts)


def space(store: StoreStatus) -> str:
    """Return how much room a store has."""
    share = f" ({100 * store.bytes_free // store.bytes_total} %)" if store.bytes_total else ""
    return f"{format.size(store.bytes_free)} of {format.size(store.bytes_total)} free{share}"


def needs(status: ServerStatus) -> Iterator[str]:
    """Yield what a person has to look at."""
    if status.queue.dead:
        yield f"{format.count(status.queue.dead, 'job')} gave up: {status.queue.reason or 'see the log of the server'}"
    if status.uploads.get("rejected"):
        rejected = format.count(status.uploads["rejected"], "upload")
        yield f"{rejected} rejected: the bytes were not what was declared; see dray ls --state failed"
    for store in status.stores:
        if store.bytes_free < LITTLE * store.bytes_total:
            yield f"little space is left in store {store.name}"
