"""``dray safe``."""

from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, Literal

import click
import msgspec

from dray.cli import exits, format
from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column, Listing
from dray.cli.gauge import Progress
from dray.cli.interrupt import Stop
from dray.cli.notes import Notes
from dray.cli.reach import reach
from dray.client.address import Place
from dray.client.api import Api
from dray.clock import SystemClock
from dray.fs import Root
from dray.model.filters import Filters
from dray.model.values import Level
from dray.moving.chunks import in_chunks
from dray.moving.known import Known
from dray.moving.reread import Reader
from dray.moving.rollup import FolderVerdict, Rollup
from dray.moving.safety import Copy, Safety, State, Verdict, Where, Whereabouts, joined
from dray.moving.walk import Found, Skipped, Tree, Walk, trees
from dray.threads import in_thread

CHUNK = 1000

CODES: Mapping[State, int] = {
    "safe": exits.OK,
    "moving": exits.TEMPORARY,
    "differs": exits.INTEGRITY,
    "damaged": exits.INTEGRITY,
    "unknown": exits.NOT_FOUND,
    "error": exits.PERMANENT,
}


class Line(msgspec.Struct, frozen=True):
    """A file or folder: only ``safe`` allows to delete it. ``states`` counts the files of a folder."""

    what: Literal["file", "folder"]
    path: str
    state: State
    reason: str
    files: int
    bytes: int
    states: dict[State, int] = {}
    where: str | None = None
    checksum: str | None = None
    level: Level | None = None
    verified_at: float | None = None


class Summary(msgspec.Struct, frozen=True):
    """How many files are in which state; ``safe`` is the verdict on everything that was asked for."""

    safe: bool
    files: int
    bytes: int
    states: dict[State, int]


OUTPUT = {"verdict": Line, "verdict.summary": Summary}

COLUMNS = (
    Column("verdict", "state"),
    Column("path", lambda line: f"{line.path}/" if line.what == "folder" else line.path),
    Column("files", lambda line: f"{line.files:,}", right=True),
    Column("why", lambda line: line.reason or None),
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The command line."""

    paths: tuple[str, ...]
    to: str | None = None
    level: Level = "durable"
    long: bool = False


@define(
    "safe",
    examples=(
        "dray safe run7                                        # may it be deleted here?",
        "dray safe run7 --to http://127.0.0.1:8080/beamtime    # where nothing was noted: the address it was sent to",
        "dray safe run7 --quiet && rm -r run7",
        "dray safe run7 --json                                 # every file with its verdict, as JSON",
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--to", metavar="URL/DATASET[/PATH]", help="Where it was sent; else what upload and watch noted counts.")
@click.option(
    "--level", type=click.Choice(["durable", "flushed", "service"]), default="durable", show_default=True,
    help="How sure the copy must be: file and directory flushed, file flushed, or the word of a service.",
)  # fmt: skip
@click.option("-l", "--long", is_flag=True, help="Show files that are safe, too.")
def command(app: App, **given: Any) -> int:
    """Say whether files may be deleted: a verified copy has the same bytes.

    The bytes on disk are read now (or were, of this very version) and must equal a verified, published copy. Exit code
    0: everything is safe; 5: something is on its way; 6: something differs; 3: something is not known; 11: several.
    """
    wanted = msgspec.convert(given, Wanted)
    question = Question(app, wanted)
    app.run(question.ask)
    summary = question.summary()
    app.display.text(_sentence(summary))
    return _exit(summary)


class Question:
    """One run of the command."""

    def __init__(self, app: App, wanted: Wanted) -> None:
        self._app = app
        self._wanted = wanted
        self._states: Counter[State] = Counter()
        self._bytes = 0

    async def ask(self, stop: Stop) -> None:
        """Judge everything and show it."""
        clock = SystemClock()
        async with AsyncExitStack() as stack:
            servers = Servers(self._app, stack)
            to = await servers.place(self._wanted.to) if self._wanted.to else None
            notes = stack.enter_context(Notes(self._app, clock))
            listing = stack.enter_context(self._app.display.listing("verdict", COLUMNS))
            progress = stack.enter_context(self._app.progress("safe"))
            for tree in await in_thread(None, trees, self._wanted.paths, to.path if to else ""):
                with Root(tree.root) as root:
                    reader = Reader(root, notes.known, clock, progress, stop.event)
                    safety = Safety(tree, reader, servers, _where(to, notes.known), self._wanted.level)
                    await self._judge(tree, safety, listing, progress)
            listing.summary(self.summary())

    async def _judge(self, tree: Tree, safety: Safety, listing: Listing, progress: Progress) -> None:
        rollup = Rollup(tree)
        walk = Walk(Filters(), now=0.0)
        async with aclosing(in_chunks(walk.run(tree), CHUNK)) as chunks:
            async for chunk in chunks:
                found = [one for one in chunk if isinstance(one, Found)]
                progress.expect(len(found), sum(one.size for one in found))
                left = [safety.skipped(one) for one in chunk if isinstance(one, Skipped) and one.cause != "filtered"]
                for verdict in [*await safety.judge(found), *left]:
                    self._add(verdict, rollup, listing)
                progress.at(self._states.total(), self._bytes, self._states.total() - self._states["safe"])
        for folder in rollup.folders() if tree.names is None else ():
            listing.add(_folder_line(folder))

    def _add(self, verdict: Verdict, rollup: Rollup, listing: Listing) -> None:
        self._states[verdict.state] += 1
        self._bytes += verdict.size
        rollup.add(verdict)
        if verdict.state != "safe" or self._wanted.long or self._app.display.output != "text":
            listing.add(_file_line(verdict))

    def summary(self) -> Summary:
        """Return the sums; nothing found proves nothing."""
        safe = set(self._states) == {"safe"}
        return Summary(safe, self._states.total(), self._bytes, dict(self._states))


class Servers:
    """Connections, one to each server, open until the command ends."""

    def __init__(self, app: App, stack: AsyncExitStack) -> None:
        self._app = app
        self._stack = stack
        self._open: dict[str, Api] = {}

    async def api(self, server: str) -> Api:
        """Return a connection, the same one each time."""
        if server not in self._open:
            self._open[server] = (await self._stack.enter_async_context(reach(self._app, server))).api
        return self._open[server]

    async def place(self, text: str) -> Place:
        """Find the server of an address and what it names there."""
        there = await self._stack.enter_async_context(reach(self._app, text))
        place = there.dataset()
        self._open[place.server] = there.api
        return place


def _where(to: Place | None, known: Known | None) -> Where:
    """Return how the copies of a file are found: at the place that is named, else in the notes."""
    if to is not None:
        return partial(_named, to)
    whereabouts = Whereabouts(known) if known else None
    return lambda full, found: whereabouts.copies(full) if whereabouts else []


def _named(to: Place, full: str, found: Found) -> list[Copy]:
    """Say where a file is that was sent with, or else without, the name of its folder."""
    paths = dict.fromkeys((str(found.path), joined(to.path, found.origin)))
    return [Copy(to.server, to.dataset, path) for path in paths]


def _file_line(verdict: Verdict) -> Line:
    copy = verdict.copy
    return Line(
        what="file",
        path=verdict.path,
        state=verdict.state,
        reason=verdict.reason,
        files=1,
        bytes=verdict.size,
        where=f"{copy.server}/{copy.dataset}/{copy.path}" if copy else None,
        checksum=verdict.checksum,
        level=verdict.level,
        verified_at=verdict.verified_at,
    )


def _folder_line(folder: FolderVerdict) -> Line:
    reason = "" if folder.state == "safe" else _counts(folder.states)
    return Line("folder", folder.path, folder.state, reason, folder.files, folder.bytes, folder.states)


def _counts(states: Mapping[State, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))


def _sentence(summary: Summary) -> str:
    if not summary.files:
        return "there are no files, so nothing is proved"
    if summary.safe:
        return f"safe to delete: {format.count(summary.files, 'file')}, {format.size(summary.bytes)}"
    return f"not safe to delete: {_counts(summary.states)}"


def _exit(summary: Summary) -> int:
    codes = {CODES[state] for state in summary.states}
    if not codes:
        return exits.NOT_FOUND
    return next(iter(codes)) if len(codes) == 1 else exits.PARTIAL
