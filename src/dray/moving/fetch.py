"""``dray download``: files of a place come into a local directory, unless what is there already is the same."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from dray.errors import Conflict, DrayError, NameRefused, NotFound
from dray.model.filters import Filters
from dray.model.names import RemotePath, printable
from dray.model.parts import Batcher
from dray.model.values import Entry, OnExists, Outcome, Value
from dray.moving import flow
from dray.moving.deliver import Audience
from dray.moving.here import Local, State
from dray.moving.item import Item
from dray.moving.source import RemoteFiles
from dray.moving.walk import Skipped
from dray.transports.base import Session

PAGE = 1000

BLOCKED: dict[State, tuple[str, str]] = {
    "other": ("a file with other content is here", "--on-exists replace puts the fetched one over it"),
    "no file": ("something that is no file has this name here", "move it away"),
}


class Request(Value, frozen=True):
    """What to fetch: a file or folder (which keeps its name, unless ``contents``); ``on_exists``: fail or replace."""

    path: str
    contents: bool
    rules: Filters
    on_exists: OnExists = "fail"
    parallel: int = 4

    def local(self, path: str) -> RemotePath:
        """Return where a file of the place is put below the local directory."""
        if not self.path:
            return RemotePath(path)
        above = f"{self.path}/" if self.contents else self.path.rpartition("/")[0]
        return RemotePath(path[len(above) :].lstrip("/"))


class Fetch:
    """One download from ``source`` into ``destination``, which is the directory that ``here`` looks at."""

    def __init__(
        self, request: Request, source: Session, destination: Session, here: Local, audience: Audience
    ) -> None:
        self._request = request
        self._source = source
        self._destination = destination
        self._here = here
        self._audience = audience
        self._ended: list[Outcome] = []

    async def run(self, stop: asyncio.Event) -> AsyncGenerator[list[Outcome], None]:
        """Fetch everything and yield outcomes as they come; after ``stop`` only what runs is finished."""
        batches = self.batches()
        remote = RemoteFiles(self._source)
        parallel = self._request.parallel
        moving = flow.run(batches, remote, self._destination, self._audience, parallel=parallel, stop=stop)
        async with aclosing(batches), aclosing(moving):
            async for outcomes in moving:
                yield self._take_ended() + outcomes
        yield self._take_ended()

    async def batches(self) -> AsyncGenerator[Sequence[Item], None]:
        """Yield what has to be fetched, in batches; what is there already, or cannot be put there, ends at once."""
        batcher: Batcher[Item] = Batcher(lambda item: item.size, self._destination.limits)
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for item in await self._missing(page):
                    for batch in batcher.add(item):
                        yield batch
        for batch in batcher.rest():
            yield batch

    async def _pages(self) -> AsyncGenerator[list[Item], None]:
        """Yield what is wanted, many at a time. Raises NotFound when the place has nothing of this name."""
        page: list[Item] = []
        found = False
        async for entry in self._source.list(self._request.path):
            found = True
            page += self._wanted(entry)
            if len(page) >= PAGE:
                yield page
                page = []
        if not found and self._request.path:
            raise NotFound("there is nothing of this name", item=printable(self._request.path), hint="see `dray ls`")
        yield page

    def _wanted(self, entry: Entry) -> list[Item]:
        try:
            local = self._request.local(entry.path)
        except NameRefused as refused:
            self._audience.skipped(Skipped(entry.path, "name", refused.message))
            return []
        rule = self._request.rules.explain(local)
        if rule is not None and not rule.takes:
            self._audience.skipped(Skipped(entry.path, "filtered", f'left out by the rule "{rule.text}"'))
            return []
        self._audience.expect(1, entry.size)
        return [
            Item(
                path=local,
                size=entry.size,
                version=entry.tag,
                origin=entry.ref,
                on_exists=self._request.on_exists,
                mtime_ns=entry.mtime_ns,
                checksum=entry.checksum,
            )
        ]

    async def _missing(self, page: Sequence[Item]) -> list[Item]:
        """Return the items whose content is not there already; the others end here."""
        missing = []
        for item, state in zip(page, await self._here.compare(page), strict=True):
            if state == "same":
                self._end(Outcome(item.path, "already", item.size, item.checksum))
            elif state == "missing" or self._request.on_exists == "replace":
                missing.append(item)
            else:
                error = state if isinstance(state, DrayError) else Conflict(BLOCKED[state][0], hint=BLOCKED[state][1])
                outcome = Outcome(item.path, "failed", item.size, error=error.about(printable(item.path)))
                self._end(outcome)
        return missing

    def _end(self, outcome: Outcome) -> None:
        self._audience.outcome(outcome)
        self._ended.append(outcome)

    def _take_ended(self) -> list[Outcome]:
        taken, self._ended = self._ended, []
        return taken
