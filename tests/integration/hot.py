"""A hot directory before a posix place, for tests: an agent that runs beside the test, and what it told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from dray.agent.agent import Summary
from dray.agent.journal import Journal, Standing, snapshot
from dray.agent.send import Lane
from dray.agent.watch import HotDirectory, watch, watch_once
from dray.clock import Clock, SystemClock
from dray.model.filters import HOT_DIRECTORY, Filters
from dray.model.manner import Manner
from dray.model.names import RemotePath
from dray.model.settle import Policy
from dray.model.values import Outcome
from dray.moving.report import Phase
from dray.transports.base import Session, Transport
from dray.transports.posix import Posix
from dray.transports.wrappers import Wrapper

SETTLE = 0.3
PATIENCE = 60.0
QUICK = Policy(settle=SETTLE)


@dataclass
class Told:
    """Keeps what an agent told."""

    outcomes: list[Outcome] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    expected: int = 0

    def expect(self, files: int, nbytes: int) -> None:
        self.expected += files

    def waiting(self, reason: str) -> None:
        self.reasons.append(reason)

    def say(self, text: str) -> None:
        self.words.append(text)

    def idle(self) -> None:
        pass

    def watching(self) -> None:
        pass

    def stands(self, standing: Standing) -> None:
        pass

    def phase(self, path: RemotePath, phase: Phase) -> None:
        pass

    def moved(self, path: RemotePath, nbytes: int) -> None:
        pass

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Wrapped:
    """A place whose sessions are put into something that makes trouble."""

    def __init__(self, inner: Transport, wrap: Callable[[Session], Session]) -> None:
        self.inner, self.wrap = inner, wrap

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        async with self.inner.connect() as session:
            yield self.wrap(session)


@dataclass
class Hot:
    """Directories of one test."""

    base: Path
    rules: Sequence[str] = ()
    policy: Policy = QUICK
    rescan: float = 3600.0
    wrap: Callable[[Session], Session] = Wrapper
    clock: Clock = field(default_factory=SystemClock)
    told: Told = field(default_factory=Told)
    arrived: list[Outcome] = field(default_factory=list)
    parallel: int = 3
    manner: Manner = field(default_factory=Manner)

    @property
    def root(self) -> Path:
        return self.base / "hot"

    @property
    def store(self) -> Path:
        return self.base / "store"

    @property
    def journal(self) -> Path:
        return self.base / "state" / "journal.sqlite"

    def directory(self) -> HotDirectory:
        rules = Filters.parse(self.rules, HOT_DIRECTORY)
        return HotDirectory(str(self.root), self.journal, "here", rules, self.policy, "", self.rescan, self.manner)

    def lane(self) -> Lane:
        async def arrived(outcomes: Sequence[Outcome]) -> None:
            self.arrived += outcomes

        return Lane(Wrapped(Posix(self.store), self.wrap), self.parallel, arrived)

    def once(self) -> Summary:
        """Run once, to the end."""
        self.root.mkdir(parents=True, exist_ok=True)

        async def story() -> Summary:
            return await watch_once(self.directory(), self.lane(), self.told, asyncio.Event(), self.clock)

        return asyncio.run(story())

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Hot"]:
        """Run beside the test; the first look through the directory is over when this begins."""
        self.root.mkdir(parents=True, exist_ok=True)
        stop = asyncio.Event()
        agent = asyncio.create_task(watch(self.directory(), self.lane(), self.told, stop, self.clock))
        try:
            await until(lambda: agent.done() or self.noted("rules"))
            yield self
        finally:
            stop.set()
            await agent

    def noted(self, name: str) -> bool:
        return self.journal.exists() and self.ask(lambda journal: journal.recall(name)) is not None

    def ask(self, question: Callable[[Journal], object]) -> object:
        """Ask a copy of the journal, since the agent uses it."""
        copy = self.base / "journal.copy"
        copy.unlink(missing_ok=True)
        snapshot(self.journal, copy)
        with closing(Journal(copy)) as journal:
            return question(journal)

    def states(self) -> dict[str, str]:
        """Return the state of every name that the journal knows."""

        def states(journal: Journal) -> dict[str, str]:
            folders = journal.folders()
            return {f"{f}/{n}".lstrip("/"): row.state for f in folders for n, row in journal.rows(f).items()}

        found = self.ask(states)
        assert isinstance(found, dict)
        return found

    def reason(self, path: str) -> str:
        """Return the reason in the row of a file."""

        def reason(journal: Journal) -> str:
            states = ("settling", "queued", "failed", "skipped", "refused", "gone", "delivered")
            return next(one.reason for state in states for one in journal.in_state(state) if one.key.path == path)

        found = self.ask(reason)
        assert isinstance(found, str)
        return found

    def stored(self) -> dict[str, bytes]:
        """Return what is published, by path."""
        return dict(published(self.store))

    def versions(self) -> int:
        """Return how many older versions are kept: each is a content that was published and replaced."""
        return sum(1 for path in (self.store / ".dray" / "versions").rglob("*") if path.is_file())

    async def delivered(self, expected: Mapping[str, bytes]) -> None:
        """Wait until exactly this is published and recorded."""
        await until(lambda: self.stored() == expected)
        await until(lambda: all(self.states().get(path) == "delivered" for path in expected))


def published(store: Path) -> Iterator[tuple[str, bytes]]:
    for path in store.rglob("*"):
        below = path.relative_to(store)
        if path.is_file() and below.parts[0] != ".dray":
            yield below.as_posix(), path.read_bytes()


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that is to come true; the limit only ends a test that hangs."""
    end = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.05)
