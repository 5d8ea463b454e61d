"""``dray scrub``."""

from collections.abc import AsyncIterator

import click
import msgspec

from dray.cli import format
from dray.cli.command import define
from dray.cli.commands.ls import FILES
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import INTEGRITY, OK, PARTIAL, PERMANENT, TIME_UP
from dray.cli.gauge import Progress
from dray.cli.interrupt import Stop
from dray.cli.reach import Reached, reach
from dray.clock import SystemClock
from dray.config.parse import parse_duration
from dray.model.views import FileView, JobView, ScrubRequest

POLL = 1.0
RESUME = "the server goes on with it; dray scrub follows it again"


class Scrubbed(msgspec.Struct, frozen=True):
    """What a scrub has found so far; ``unread`` copies could not be read at all."""

    job: int
    state: str
    reason: str
    checked: int = 0
    bytes: int = 0
    corrupt: int = 0
    lost: int = 0
    repaired: int = 0
    unread: int = 0


OUTPUT = {"damaged": FileView, "damaged.summary": Scrubbed}

FIELDS = (
    Column("job", "job"),
    Column("state", lambda s: f"{s.state} ({s.reason})" if s.reason else s.state),
    Column("read again", lambda s: f"{format.count(s.checked, 'copy', 'copies')}, {format.size(s.bytes)}"),
    Column("damaged", lambda s: f"{s.corrupt:,} corrupt, {s.lost:,} lost; {s.repaired:,} repaired from another copy"),
    Column("unread", "unread"),
)


@define(
    "scrub",
    examples=(
        "dray scrub                               # everything on the server of the settings",
        "dray scrub http://127.0.0.1:8080/run7    # one dataset",
        "dray scrub run7 --no-wait                # start it and leave",
    ),
)
@click.argument("where", required=False, metavar="[URL | DATASET]")
@click.option("--no-wait", is_flag=True, help="Start it and leave; running the command again follows it.")
@click.option("--wait", "limit", metavar="TIME", help="Follow it for so long at most, then leave with exit code 10.")
def command(app: App, where: str | None, no_wait: bool, limit: str | None) -> int:
    """Read every stored file again and compare it with its checksum.

    Damaged copies are repaired where the server has another good one. Exit code 6 when damage was found.
    """
    seconds = 0.0 if no_wait else parse_duration(limit) if limit else None
    job = app.run(lambda stop: _scrub(app, where, stop, seconds), resume=RESUME)
    return _exit(job, waited=not no_wait)


async def _scrub(app: App, where: str | None, stop: Stop, seconds: float | None) -> Scrubbed:
    async with reach(app, where) as there:
        dataset = there.place.dataset if there.place else None
        job = await there.api.scrub(ScrubRequest(dataset=dataset))
        with app.progress("scrub") as progress:
            progress.expect(*await _amount(there))
            job = await _ended(there, job, progress, stop, seconds)
        return await _show(app, there, scrubbed(job))


async def _show(app: App, there: Reached, found: Scrubbed) -> Scrubbed:
    app.display.describe(found, FIELDS)
    with app.display.listing("damaged", FILES) as listing:
        if found.corrupt + found.lost > found.repaired:
            async for file in _damaged(there):
                listing.add(file)
        listing.summary(found)
    return found


def _damaged(there: Reached) -> AsyncIterator[FileView]:
    dataset = [("dataset", there.place.dataset)] if there.place else []
    return there.api.files([("state", "damaged"), ("version", "all"), *dataset])


async def _amount(there: Reached) -> tuple[int, int]:
    if there.place:
        dataset = await there.api.dataset(there.place.dataset)
        return dataset.files, dataset.bytes
    status = await there.api.status()
    return status.files, status.bytes


async def _ended(there: Reached, job: JobView, progress: Progress, stop: Stop, seconds: float | None) -> JobView:
    clock = SystemClock()
    until = None if seconds is None else clock.monotonic() + seconds
    while job.state not in ("done", "dead") and not stop.asked and (until is None or clock.monotonic() < until):
        found = scrubbed(job)
        progress.at(found.checked, found.bytes, found.corrupt + found.lost)
        progress.waiting(job.reason if job.state == "waiting" else "")
        await stop.wait(POLL)
        job = await there.api.job(job.job)
    return job


def scrubbed(job: JobView) -> Scrubbed:
    """Return what the job of a scrub has found."""
    known = {field for field in Scrubbed.__struct_fields__ if field not in ("job", "state", "reason")}
    counts = {name: int(value or 0) for name, value in job.result.items() if name in known}
    return Scrubbed(job.job, job.state, job.reason, **counts)


def _exit(found: Scrubbed, waited: bool) -> int:
    if found.corrupt or found.lost:
        return INTEGRITY
    if found.state == "dead":
        return PERMANENT
    if found.state != "done":
        return TIME_UP if waited else OK
    return PARTIAL if found.unread else OK
