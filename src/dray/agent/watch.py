"""Watching a hot directory: until told to stop, or once."""

import asyncio
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dray.agent.agent import Agent, Summary
from dray.agent.bell import Bell, Silence
from dray.agent.feed import Feed
from dray.agent.journal import Journal
from dray.agent.leave import After, Leaver, recover
from dray.agent.ledger import Ledger
from dray.agent.listen import choose
from dray.agent.look import Looker
from dray.agent.send import Lane, Show, first
from dray.clock import Clock
from dray.errors import NotFound
from dray.fs import Root, failure
from dray.model.filters import Filters
from dray.model.manner import PLAIN, Manner
from dray.model.settle import Policy
from dray.moving.writers import is_local
from dray.threads import in_thread

KEPT = 90 * 86400.0
"""Seconds for which the rows of files that are gone are kept."""

AWAY = 5.0
"""Seconds between two looks for a hot directory that is not there."""


@dataclass(frozen=True, slots=True)
class HotDirectory:
    """What is watched and how.

    Files arrive below ``prefix``, ``rescan`` is in seconds, ``host`` names this machine, ``after`` says what becomes of
    delivered files here, if anything.
    """

    root: str
    journal: Path
    host: str
    rules: Filters
    policy: Policy
    prefix: str = ""
    rescan: float = 60.0
    manner: Manner = PLAIN
    after: After | None = None

    def looker(self, root: Root, clock: Clock) -> Looker:
        """Return what decides about the names below the open directory."""
        return Looker(root, self.rules, self.policy, clock, self.prefix, is_local(root.path), self.manner)

    def opened(self) -> Root:
        """Open the directory or raise NotFound, Forbidden."""
        try:
            return Root(self.root)
        except OSError as error:
            raise failure(error, self.root) from error


async def watch_once(hot: HotDirectory, lane: Lane, show: Show, stop: asyncio.Event, clock: Clock) -> Summary:
    """Send everything that is there, as far as it settles, and return how it stands then."""
    with hot.opened() as root:
        async with Ledger(hot.journal) as ledger:
            await ledger.run(lambda journal: begin(journal, hot, clock))
            return await Agent(hot.looker(root, clock), ledger, Silence(), show).once(lane, hot.host, stop)


async def watch(
    hot: HotDirectory, lane: Lane, show: Show, stop: asyncio.Event, clock: Clock, feed: Feed | None = None
) -> Summary:
    """Send whatever appears, or what a feed tells of, until ``stop``; a directory that goes away is waited for."""
    with hot.opened():
        pass
    async with Ledger(hot.journal) as ledger:
        await ledger.run(lambda journal: begin(journal, hot, clock))
        while not stop.is_set():
            try:
                with hot.opened() as root, closing(_bell(root, hot, show, feed)) as bell:
                    looker = hot.looker(root, clock)
                    agent = Agent(looker, ledger, bell, show, feed, await _leaver(hot, looker, ledger))
                    await agent.forever(lane, hot.host, hot.rescan, stop)
            except NotFound as error:
                show.waiting(str(error))
                await first(stop.wait(), timeout=AWAY)
        return Summary(tuple(await ledger.run(Journal.tallies)))


async def _leaver(hot: HotDirectory, looker: Looker, ledger: Ledger) -> Leaver | None:
    """Return what takes delivered files out, after giving back what an earlier run left hidden."""
    await ledger.run(lambda journal: recover(journal, looker.root))
    if hot.after is None:
        return None
    leaver = Leaver(ledger, looker, hot.after)
    await in_thread(None, leaver.check)
    return leaver


def _bell(root: Root, hot: HotDirectory, show: Show, feed: Feed | None) -> Bell:
    return Silence() if feed is not None else choose(root.path, hot.policy.settle, show.say, hot.manner.deletes)


def begin(journal: Journal, hot: HotDirectory, clock: Clock) -> None:
    """Take up what an earlier run left."""
    journal.prepare(hot.manner, leaving=hot.after is not None)
    journal.begin(clock.monotonic(), clock.wall(), clock.wall() - KEPT)
