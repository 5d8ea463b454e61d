"""What each page shows: asks the use cases and gives the values to a template."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast, get_args

from dray.clock import Clock
from dray.core.access import Access, Principal
from dray.core.announce import Announcements
from dray.core.datasets import Datasets, FileQuery, FileState
from dray.core.overview import Overview
from dray.core.queue import Jobs
from dray.errors import NotFound
from dray.model.checksum import Checksum
from dray.model.names import printable
from dray.model.values import Value
from dray.model.views import Event, FileView, StoreStatus
from dray.web import verdicts

ENTRIES = 200
WAITING = 20
EVENTS = 20
LOOKED_AT = 500
REFUSED = 10
STEPS = ("upload.pending", "upload.uploaded")
"""Kinds of events that are no result yet."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Desk:
    """What the pages work with; made in wiring.

    ``download`` signs the address of a file for somebody; ``url`` is where this server is for the command line.
    """

    access: Access
    announcements: Announcements
    datasets: Datasets
    jobs: Jobs
    overview: Overview
    clock: Clock
    stores: Callable[[], Awaitable[list[StoreStatus]]]
    download: Callable[[Principal, FileView], str]


class Crumb(Value, frozen=True):
    """A folder on the way to what a page shows."""

    name: str
    prefix: str


class News(Value, frozen=True):
    """Events of one kind in a row, told in one line."""

    first: Event
    last: Event
    count: int


async def now(desk: Desk, who: Principal, query: Mapping[str, str]) -> Values:
    """Show counts, what waits and why, queue, stores and the latest events."""
    totals, queue = await desk.jobs.totals(), await desk.jobs.status()
    waiting = await desk.overview.waiting(who, WAITING)
    return {
        "title": "Now",
        "totals": totals,
        "queue": queue,
        "waiting": waiting,
        "most": WAITING,
        "stores": await desk.stores(),
        "refused": await desk.overview.refused(who, REFUSED),
        "news": gathered(await desk.overview.latest(who, LOOKED_AT), EVENTS),
        "headline": verdicts.of_server(totals.uploads, queue, waiting),
    }


def gathered(events: Sequence[Event], most: int) -> list[News]:
    """Gather results, the newest first, of the same kind, dataset and actor that follow each other."""
    found: list[News] = []
    results = (event for event in events if event.kind not in STEPS)
    for _, group in groupby(results, key=_sameness):
        same = list(group)
        found.append(News(same[-1], same[0], len(same)))
    return found[:most]


def _sameness(event: Event) -> tuple[object, ...]:
    """Return what events told in one line have in common; one with a reason is told alone."""
    return event.kind, event.dataset, event.actor, event.id if event.data.get("reason") else None


async def find(desk: Desk, who: Principal, query: Mapping[str, str]) -> Values:
    """Find files by a part of their path, by digest, or by state."""
    text, state = query.get("q", "").strip(), query.get("state", "")
    checksum = Checksum.parse(text) if text.startswith("sha256:") else None
    wanted = FileQuery(
        name=None if checksum else text or None,
        checksum=checksum,
        state=cast(FileState, state) if state in get_args(FileState) else None,
        cursor=query.get("cursor"),
        limit=ENTRIES,
    )
    told = [f"with {text} in the name" if text and not checksum else "", str(checksum or ""), state]
    return {
        "title": "Files",
        "search": text,
        "asked": {name: query[name] for name in ("q", "state") if query.get(name)},
        "found": printable(", ".join(part for part in told if part)) or "All of them.",
        "page": await desk.datasets.find(who, wanted),
    }


async def datasets(desk: Desk, who: Principal, query: Mapping[str, str]) -> Values:
    """List datasets."""
    return {"title": "Datasets", "page": await desk.datasets.page(who, query.get("cursor"), ENTRIES)}


async def files(desk: Desk, who: Principal, query: Mapping[str, str]) -> Values:
    """Show one folder of a dataset: folders gathered into one row each, then files."""
    dataset = await desk.datasets.get(who, query.get("dataset", ""))
    prefix = query.get("prefix", "").rstrip("/")
    prefix = f"{prefix}/" if prefix else ""
    page = await desk.overview.folder(who, dataset.name, prefix, query.get("after", ""), ENTRIES)
    return {
        "title": f"{dataset.name}/{prefix}".rstrip("/"),
        "dataset": dataset,
        "prefix": prefix,
        "crumbs": crumbs(dataset.name, prefix.rstrip("/")),
        "page": page,
        "waiting": await desk.overview.waiting(who, WAITING, dataset.name),
    }


async def file(desk: Desk, who: Principal, query: Mapping[str, str]) -> Values:
    """Show all about one file."""
    detail = await desk.datasets.detail(who, number(query["file"]))
    shown = detail.file
    named = FileQuery(dataset=shown.dataset, prefix=shown.path, version="all", limit=ENTRIES)
    found = await desk.datasets.find(who, named)
    return {
        "title": shown.path.rpartition("/")[2],
        "file": shown,
        "crumbs": crumbs(shown.dataset, shown.path),
        "verdict": verdicts.of_file(shown, detail.uploads),
        "levels": verdicts.LEVELS,
        "versions": [other for other in reversed(found.items) if other.path == shown.path],
        "uploads": detail.uploads,
        "events": await desk.overview.latest(who, EVENTS, shown.file),
        "downloadable": shown.state == "verified",
    }


def number(text: str) -> int:
    """Return the number of a file in an address."""
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise NotFound("there is no such file", item=text)
    return int(text)


def crumbs(dataset: str, path: str) -> list[Crumb]:
    """Return the dataset and each folder on the way down to ``path``, itself last."""
    names = path.split("/") if path else []
    below = [Crumb(name, "/".join(names[: depth + 1])) for depth, name in enumerate(names)]
    return [Crumb(dataset, ""), *below]
