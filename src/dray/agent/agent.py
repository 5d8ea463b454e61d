"""One run over one open hot directory: notice, settle, send, record, side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from dray.agent.bell import Bell
from dray.agent.feed import Feed
from dray.agent.journal import Journal, Key, Standing, Tally
from dray.agent.leave import Leaver
from dray.agent.ledger import Ledger
from dray.agent.look import Looker, News
from dray.agent.outbox import Outbox, carry
from dray.agent.scan import Scan
from dray.agent.send import SPACE, Lane, Sender, Show, first
from dray.agent.turn import Turns
from dray.errors import DrayError, NoSpace
from dray.model.schedule import RARELY, latest_due, rescan_after
from dray.model.settle import Notice

GROUP = 500
"""Names that are looked at before something else gets its turn."""

ENOUGH = 1000
"""Files that wait to be sent, beyond which no more are taken from a feed."""

MOMENT = 0.5
"""Seconds between two looks whether there is room again."""

LOOKS = 3
"""How often a run that is to end looks at files that do not settle."""

STANDING = 2.0
"""Least seconds between two times of telling how it stands."""

Step = Callable[[], Awaitable[None]]
"""Something that is done again and again."""

NOTICES: tuple[Notice, ...] = ("found", "renamed")

RULES = "rules"
"""The note that says by which rules the whole directory was looked through last."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How it stands at the end: files by state and reason, and what kept the destination from taking them."""

    tallies: tuple[Tally, ...]
    trouble: DrayError | None = None


class Agent:
    """Watches through one journal; ``bell`` wakes it, ``show`` is told what it does.

    With a ``feed`` names come from there alone, and the directory is not looked through. A ``leaver`` takes delivered
    files out.
    """

    def __init__(
        self,
        looker: Looker,
        ledger: Ledger,
        bell: Bell,
        show: Show,
        feed: Feed | None = None,
        leaver: Leaver | None = None,
    ) -> None:
        self._looker, self._ledger, self._bell, self._show = looker, ledger, bell, show
        self._feed, self._leaver = feed, leaver
        self._settling, self._rescan = asyncio.Event(), asyncio.Event()
        self._wake: Callable[[], None] = lambda: None

    async def once(self, lane: Lane, host: str, stop: asyncio.Event) -> Summary:
        """Look through the directory, let files settle, send those that have; again for what changed meanwhile."""
        sender = await self._sender(lane, host)
        self._show.say(f"looking through {self._looker.root.path}")
        await self._scan()
        for _ in range(LOOKS):
            await self._settle_all(stop)
            await sender.run(stop, drain=True)
            settling, _queued = await self._ledger.run(Journal.due)
            if stop.is_set() or sender.trouble is not None or settling is None:
                break
        return Summary(tuple(await self._ledger.run(Journal.tallies)), sender.trouble)

    async def forever(self, lane: Lane, host: str, every: float, stop: asyncio.Event) -> None:
        """Do everything side by side until ``stop``; running batches end in peace."""
        sender = await self._sender(lane, host)
        steps = [self._rest, lambda: self._stand(sender), *self._noticing(every), *self._announcing(lane, sender)]
        if self._leaver is not None:
            steps.append(self._leaver.step)
        await _while_running(sender.run(stop), [self._lasting(step) for step in steps])

    def _noticing(self, every: float) -> list[Step]:
        """Return what finds names: a feed, or the bell and looking."""
        if self._feed is not None:
            feed = self._feed
            self._show.watching()
            return [lambda: self._take(feed)]
        return [self._notice, lambda: self._look_through(every)]

    def _announcing(self, lane: Lane, sender: Sender) -> list[Step]:
        if lane.announce is None:
            return []
        outbox = Outbox(self._ledger, lane.announce, self._show.say)
        sender.recorded = outbox.ring
        return [outbox.step]

    async def _take(self, feed: Feed) -> None:
        """Record what a feed tells of, then let it acknowledge."""
        if await self._full():
            return await feed.pause()
        fed = await feed.next()
        if fed.carried:
            await self._ledger.run(lambda journal: carry(journal, fed.carried))
        for group in _groups(fed.names, GROUP):
            await self._look(group, announced=True)
        if fed.gone:
            self._tell(await self._ledger.run(lambda journal: self._looker.told_gone(journal, fed.gone)))
        if fed.lost:
            await self._scan()
        return await feed.recorded(fed)

    async def _full(self) -> bool:
        """Say, after a moment, whether enough waits here: the rest is left to others on the same queue."""
        full = (await self._ledger.run(Journal.queued))[0] >= ENOUGH
        await asyncio.sleep(MOMENT if full else 0.0)
        return full

    async def _sender(self, lane: Lane, host: str) -> Sender:
        turns = Turns(self._looker, host, announces=lane.announce is not None)
        sender = Sender(self._ledger, turns, lane, self._show, self._settling.set)
        self._wake = sender.wake
        self._show.expect(*await self._ledger.run(Journal.queued))
        return sender

    async def _lasting(self, step: Step) -> None:
        """Do a step again and again; while the journal's disk is full, wait, then look through everything."""
        while True:
            try:
                await step()
            except NoSpace as error:
                self._show.waiting(str(error))
                await asyncio.sleep(SPACE)
                self._rescan.set()

    async def _notice(self) -> None:
        """Wait for the bell and look at what it names."""
        rings = await self._bell.rings()
        if rings.lost:
            self._rescan.set()
        for group in _groups(rings.names, GROUP):
            await self._look(group)
        for notice in NOTICES:
            if folders := [folder for folder, heard in rings.folders.items() if heard == notice]:
                await self._scan(folders, notice)

    async def _look(self, hints: Mapping[Key, Notice], announced: bool = False) -> None:
        news = await self._ledger.run(lambda journal: self._looker.look(journal, hints, announced))
        self._tell(news)
        if news.folders and self._feed is None:
            await self._scan(news.folders)
        elif news.folders:
            self._tell(await self._ledger.run(lambda journal: self._looker.enter(journal, news.folders)))

    async def _rest(self) -> None:
        """Look again at files that should have settled, else wait for the next of them."""
        due = await self._look_at_resting()
        self._settling.clear()
        if due is None or due > 0:
            await first(self._settling.wait(), timeout=due)

    async def _look_at_resting(self) -> float | None:
        """Look at one group of files that are due; return in how many seconds the next one is."""

        def look(journal: Journal) -> tuple[News, float | None]:
            keys = journal.resting(self._looker.clock.monotonic(), GROUP)
            hints: dict[Key, Notice] = dict.fromkeys(keys, "found")
            return self._looker.look(journal, hints), journal.due()[0]

        news, due = await self._ledger.run(look)
        self._tell(news)
        return None if due is None else due - self._looker.clock.monotonic()

    async def _stand(self, sender: Sender) -> None:
        """Tell how it stands, then wait, for longer where many files wait; what is on its way is not there yet."""
        clock = self._looker.clock

        def ask(journal: Journal) -> tuple[Standing, float]:
            began = clock.monotonic()
            return journal.standing(clock.wall()), clock.monotonic() - began

        standing, took = await self._ledger.run(ask)
        files, nbytes = sender.flying
        self._show.stands(standing._replace(queued=standing.queued + files, bytes=standing.bytes + nbytes))
        await asyncio.sleep(max(STANDING, RARELY * took))

    async def _look_through(self, every: float) -> None:
        """Look through the whole directory, then wait for the next time or until something was missed."""
        clock = self._looker.clock
        began = clock.monotonic()
        self._rescan.clear()
        await self._scan()
        self._show.watching()
        await self._ledger.run(lambda journal: journal.hurry(clock.wall(), latest_due(clock.wall())))
        self._wake()
        trusted = self._looker.leases and self._bell.trusted
        await first(self._rescan.wait(), timeout=rescan_after(every, clock.monotonic() - began, trusted))

    async def _scan(self, start: Sequence[str] = ("",), notice: Notice = "found") -> None:
        """Look through folders and all below them; whole folders that were renamed in are finished as they are."""
        rules = f"{self._looker.rules.fingerprint()}\n{self._looker.policy}"
        known = await self._ledger.run(lambda journal: journal.recall(RULES))
        scan = Scan(self._looker, self._bell.watch, start, notice, recheck=known != rules)
        done = False
        while not done:
            done = await self._ledger.run(scan.step)
            self._tell(scan.news())
        if known != rules and tuple(start) == ("",):
            await self._ledger.run(lambda journal: journal.note(RULES, rules))

    async def _settle_all(self, stop: asyncio.Event) -> None:
        """Look at settling files until all have settled or have been looked at often enough."""
        clock, settle = self._looker.clock, self._looker.policy.settle
        end = clock.monotonic() + LOOKS * settle + 1.0
        due = await self._look_at_resting()
        while due is not None and clock.monotonic() + due < end and not stop.is_set():
            await first(stop.wait(), timeout=max(due, 0.0))
            due = await self._look_at_resting()

    def _tell(self, news: News) -> None:
        """Pass on what looks found to whoever goes on with it."""
        if news.files:
            self._show.expect(news.files, news.bytes)
        if news.files or news.errands:
            self._wake()
        if news.settling:
            self._settling.set()


def _groups(names: Mapping[Key, Notice], size: int) -> Iterator[dict[Key, Notice]]:
    items = iter(names.items())
    while group := dict(islice(items, size)):
        yield group


async def _while_running(main: Coroutine[None, None, None], helpers: Sequence[Coroutine[None, None, None]]) -> None:
    """Run ``main`` to its end beside helpers that have none; the first that fails ends all."""
    tasks = [asyncio.create_task(main), *(asyncio.create_task(helper) for helper in helpers)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
