"""``dray safe``: may a local file be deleted, because a verified, published copy has the very bytes it has now?

The question is asked of the server with the digest of what is on disk, and the file is looked at once more after the
answer, so that a yes is about the bytes that are there now.
"""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, Protocol

from dray.client.api import Api
from dray.errors import DrayError, NotFound, SourceBusy, SourceChanged
from dray.model.names import refusal
from dray.model.values import Level, Value
from dray.model.views import CheckedFile, CheckItem, CheckRequest
from dray.moving.known import Known, with_folders
from dray.moving.reread import Asked, Now, Reader
from dray.moving.walk import Found, Skipped, Tree
from dray.threads import in_thread

MOST = 1000
"""Files in one question to a server."""

RANK: dict[Level, int] = {"service": 0, "flushed": 1, "durable": 2}

NOWHERE = "nothing is noted of where it was sent; name the place with --to"

State = Literal["safe", "moving", "differs", "damaged", "unknown", "error"]


class Copy(Value, frozen=True):
    """Where a copy of a local file should be."""

    server: str
    dataset: str
    path: str


class Verdict(Value, frozen=True):
    """What is known of one local file; only ``safe`` allows to delete it."""

    path: str
    state: State
    reason: str
    size: int = 0
    copy: Copy | None = None
    checksum: str | None = None
    level: Level | None = None
    verified_at: float | None = None


class Servers(Protocol):
    """Connects to the servers that copies are on."""

    async def api(self, server: str) -> Api:
        """Return a connection, the same one each time."""


class Whereabouts:
    """Finds where a local path went in what earlier commands noted. Blocks."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._of_folder = lru_cache(maxsize=4096)(self._at_or_above)

    def copies(self, path: str) -> list[Copy]:
        """Return where the copies of a file should be, the latest sending first."""
        folder, name = os.path.split(path)
        found = [(sent.at, Copy(sent.server, sent.dataset, sent.path)) for sent in self._known.destinations(path)]
        for at, copy in self._of_folder(folder):
            found.append((at, Copy(copy.server, copy.dataset, joined(copy.path, name))))
        return list(dict.fromkeys(copy for _, copy in sorted(found, key=lambda one: -one[0])))

    def _at_or_above(self, folder: str) -> tuple[tuple[float, Copy], ...]:
        """Return where a folder itself is, because it or one above it was sent."""
        found = []
        for above in with_folders(folder):
            below = os.path.relpath(folder, above).replace(os.sep, "/")
            for sent in self._known.destinations(above):
                path = joined(sent.path, "" if below == "." else below)
                found.append((sent.at, Copy(sent.server, sent.dataset, path)))
        return tuple(found)


def joined(*parts: str) -> str:
    """Join parts of a path, leaving out empty ones."""
    return "/".join(part for part in parts if part)


Pair = tuple[Found, Copy]

Where = Callable[[str, Found], list[Copy]]
"""Says, for the full path of a file and what was found of it, where its copies should be, best first. Blocks."""


class Safety:
    """Judges the files of one tree. ``level`` is how sure the copy must be."""

    def __init__(self, tree: Tree, reader: Reader, servers: Servers, where: Where, level: Level) -> None:
        self._tree = tree
        self._reader = reader
        self._servers = servers
        self._where = where
        self._level = level

    async def judge(self, files: Sequence[Found]) -> list[Verdict]:
        """Return a verdict for each file, in order; a file with several destinations is safe when one has it."""
        copies = await in_thread(None, self._copies, files)
        verdicts = [self._verdict(one, None, "unknown", NOWHERE) for one in files]
        for turn in range(max(map(len, copies), default=0)):
            todo = [i for i, verdict in enumerate(verdicts) if verdict.state != "safe" and len(copies[i]) > turn]
            fresh = await self._ask_all([(files[i], copies[i][turn]) for i in todo])
            for i, verdict in zip(todo, fresh, strict=True):
                verdicts[i] = verdict if turn == 0 or verdict.state == "safe" else verdicts[i]
        return verdicts

    def skipped(self, skipped: Skipped) -> Verdict:
        """Return the verdict on a name that is never sent."""
        state: State = "error" if skipped.cause == "unreadable" else "unknown"
        return Verdict(skipped.path, state, f"never sent: {skipped.reason}")

    def _copies(self, files: Sequence[Found]) -> list[list[Copy]]:
        return [[copy for copy in self._where(self._full(one), one) if not refusal(copy.path)] for one in files]

    async def _ask_all(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Ask each server and dataset for all its files together."""
        verdicts: dict[Pair, Verdict] = {}
        for server, dataset in dict.fromkeys((copy.server, copy.dataset) for _, copy in pairs):
            mine = [pair for pair in pairs if (pair[1].server, pair[1].dataset) == (server, dataset)]
            verdicts.update(zip(mine, await self._ask(server, dataset, mine), strict=True))
        return [verdicts[pair] for pair in pairs]

    async def _ask(self, server: str, dataset: str, pairs: Sequence[Pair]) -> list[Verdict]:
        """Read only files of which the server has something that may be the same."""
        api = await self._servers.api(server)
        try:
            answers = await _check(api, dataset, [_item(pair) for pair in pairs])
        except NotFound as error:
            return [self._verdict(*pair, "unknown", error.message) for pair in pairs]
        verdicts = [self._said(pair, answer) for pair, answer in zip(pairs, answers, strict=True)]
        worth = [i for i, answer in enumerate(answers) if answer.state != "moving" and answer.version_number]
        for i, verdict in zip(worth, await self._prove(api, dataset, [pairs[i] for i in worth]), strict=True):
            verdicts[i] = verdict
        return verdicts

    async def _prove(self, api: Api, dataset: str, pairs: Sequence[Pair]) -> list[Verdict]:
        """Read the files as they are now, ask whether those bytes are verified, and look at the files once more."""
        nows = await self._reader.read([Asked(found.origin, found.path, found.size) for found, _ in pairs])
        good = [(pair, now) for pair, now in zip(pairs, nows, strict=True) if isinstance(now, Now)]
        answers = iter(await _check(api, dataset, [_item(pair, now) for pair, now in good]) if good else ())
        same = iter(await in_thread(None, self._unchanged, good))
        return [
            self._proved(pair, now, next(answers), next(same))
            if isinstance(now, Now)
            else self._verdict(*pair, "moving" if isinstance(now, SourceBusy | SourceChanged) else "error", now.message)
            for pair, now in zip(pairs, nows, strict=True)
        ]

    def _unchanged(self, good: Sequence[tuple[Pair, Now]]) -> list[bool]:
        return [self._reader.unchanged(found.origin, now.version) for (found, _), now in good]

    def _proved(self, pair: Pair, now: Now, answer: CheckedFile, same: bool) -> Verdict:
        if not same:
            return self._verdict(*pair, "moving", "it changed while it was looked at")
        if answer.state != "verified":
            return self._said(pair, answer)
        if answer.checksum != str(now.checksum) or answer.level is None:
            return self._verdict(*pair, "differs", "the server speaks of other bytes than were asked for")
        if RANK[answer.level] < RANK[self._level]:
            return self._verdict(*pair, "moving", f"the copy is {answer.level}, {self._level} is asked for")
        found, copy = pair
        path = self._full(found)
        return Verdict(path, "safe", "", now.size, copy, answer.checksum, answer.level, answer.verified_at)

    def _said(self, pair: Pair, answer: CheckedFile) -> Verdict:
        """Return what the server says of a file that is not proved."""
        state: State = "differs" if answer.state == "verified" else answer.state
        return self._verdict(*pair, state, answer.reason or REASONS[state])

    def _verdict(self, found: Found, copy: Copy | None, state: State, reason: str) -> Verdict:
        return Verdict(self._full(found), state, reason, found.size, copy)

    def _full(self, found: Found) -> str:
        return os.path.join(self._tree.root, found.origin)


REASONS: dict[State, str] = {
    "moving": "it is on its way",
    "differs": "the server has other bytes of this name",
    "damaged": "the stored copy is damaged",
    "unknown": "the server does not have it",
}


def _item(pair: Pair, now: Now | None = None) -> CheckItem:
    found, copy = pair
    size, checksum = (now.size, str(now.checksum)) if now else (found.size, None)
    return CheckItem(path=copy.path, size=size, checksum=checksum)


async def _check(api: Api, dataset: str, items: Sequence[CheckItem]) -> list[CheckedFile]:
    checked: list[CheckedFile] = []
    for start in range(0, len(items), MOST):
        for answer in await api.check(CheckRequest(dataset=dataset, items=list(items[start : start + MOST]))):
            if isinstance(answer, DrayError):
                raise answer
            checked.append(answer)
    return checked
