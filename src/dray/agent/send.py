"""Sends what the journal has queued: batches side by side, outcomes recorded as they come, one pause for all."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import msgspec

from dray.agent.errand import UNABLE, in_order
from dray.agent.journal import Ended, Journal, Standing
from dray.agent.ledger import Ledger
from dray.agent.outbox import Announce
from dray.agent.turn import Claimed, Flight, Landed, Turns
from dray.client.rate import Rate
from dray.errors import DrayError, NoSpace
from dray.model.names import RemotePath
from dray.model.schedule import OF_DESTINATION, of_destination, pause
from dray.model.values import Change, Limits, Outcome
from dray.moving import flow
from dray.moving.report import Phase, Report
from dray.moving.source import Item, LocalFiles
from dray.transports.base import Names, Session, Transport, names_of

R = TypeVar("R")

PATIENCE = 4
"""Pauses in a row after which a run that is to end gives up."""

LONG = 30.0
"""Seconds that a run that is to end waits for a single file to be tried again."""


IDLE = 60.0
"""Seconds without work after which a session is let go."""

SPACE = 5.0
"""Seconds between two tries to write to a full disk."""


class Show(Report, Protocol):
    """Listens to an agent; outcomes are only told of files that need no more tries."""

    def expect(self, files: int, nbytes: int) -> None:
        """Add files and bytes to what is to be sent."""

    def waiting(self, reason: str) -> None:
        """Say why nothing moves, until bytes move again."""

    def say(self, text: str) -> None:
        """Tell something in words."""

    def idle(self) -> None:
        """Say that nothing is on its way and nothing is due."""

    def watching(self) -> None:
        """Say that everything was looked through and changes are noticed from now on."""

    def stands(self, standing: Standing) -> None:
        """Tell how it stands, every few seconds."""


class Quietly:
    """Passes on what a move tells, but for outcomes: only the journal knows which are final."""

    def __init__(self, show: Show) -> None:
        self.phase: Callable[[RemotePath, Phase], None] = show.phase
        self.moved: Callable[[RemotePath, int], None] = show.moved

    def outcome(self, outcome: Outcome) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Where files go and how many batches at a time.

    ``arrived`` is told of files once they are recorded, and of none again after a crash. ``announce`` is given all
    that was ever recorded, some of it again after a crash.
    """

    transport: Transport
    parallel: int = 3
    arrived: Callable[[Sequence[Outcome]], Awaitable[None]] | None = None
    announce: Announce | None = None


class Sender:
    """Sends what is queued. ``settle`` is called when files were found changed and have to settle again."""

    def __init__(self, ledger: Ledger, turns: Turns, lane: Lane, show: Show, settle: Callable[[], None]) -> None:
        self._ledger, self._turns, self._lane, self._show, self._settle = ledger, turns, lane, show, settle
        self._source = LocalFiles(turns.looker.root.path)
        self._flying: dict[RemotePath, Flight] = {}
        self._woken = asyncio.Event()
        self._pauses = 0
        self._rate = Rate(turns.looker.clock, turns.manner.rate)
        self.trouble: DrayError | None = None
        self.recorded: Callable[[], None] = lambda: None

    @property
    def flying(self) -> tuple[int, int]:
        """Return how many files and bytes are on their way."""
        return len(self._flying), sum(flight.item.size for flight in self._flying.values())

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._woken.set()

    async def run(self, stop: asyncio.Event, drain: bool = False) -> None:
        """Send until ``stop``; with ``drain`` until nothing is left that it makes sense to wait for."""
        while not stop.is_set():
            due = await self._due()
            if drain and (due is None or due > LONG or self._gave_up()):
                return
            if due is None or due > 0:
                await first(stop.wait(), self._woken.wait(), timeout=due)
                self._woken.clear()
                continue
            await self._connected(stop, drain)
            await self._pause(stop, drain)

    async def _due(self) -> float | None:
        """Return in how many seconds the next file is due, None when none waits."""
        due = (await self._ask(Journal.due))[1]
        return None if due is None else due - self._turns.looker.clock.wall()

    def _gave_up(self) -> bool:
        hopeless = self.trouble is not None and self.trouble.retry == "never"
        return self._pauses >= PATIENCE or hopeless

    async def _connected(self, stop: asyncio.Event, drain: bool) -> None:
        """Send over one session until it fails or there is nothing to send."""
        self.trouble = None
        try:
            async with self._lane.transport.connect() as session:
                batches, quietly = self._batches(session, stop, drain), Quietly(self._show)
                flows = flow.run(batches, self._source, session, quietly, parallel=self._lane.parallel, stop=stop)
                async with aclosing(flows):
                    async for outcomes in flows:
                        await self._land(outcomes)
        except DrayError as error:
            self.trouble = error
        finally:
            await self._abandon()

    async def _batches(
        self, session: Session, stop: asyncio.Event, drain: bool
    ) -> AsyncGenerator[Sequence[Item], None]:
        """Yield what is due, waiting for more; ends when the destination fails, or after a time without work.

        While something is still on its way, a pause is made here, so that nothing has to break off.
        """
        limits = self._limits(session.limits)
        while self.trouble is None or (self._flying and await self._pause(stop, drain)):
            self.trouble = None
            self._woken.clear()
            claimed = await self._ask(lambda journal: self._turns.claim(journal, limits))
            if claimed.missed:
                self._settle()
            self._flying.update((flight.item.path, flight) for flight in claimed.flights)
            await self._run_errands(session, claimed)
            if claimed.flights:
                await asyncio.sleep(self._rate.take(len(claimed.flights)))
                yield [flight.item for flight in claimed.flights]
            elif claimed.empty and not await self._more(drain):
                return

    def _limits(self, limits: Limits) -> Limits:
        """Return the limits of a batch: with few files a second batches are small, so that they go out evenly."""
        rate = self._turns.manner.rate
        most = limits.batch_files if rate is None else max(1, min(limits.batch_files, int(rate)))
        return msgspec.structs.replace(limits, batch_files=most)

    async def _run_errands(self, session: Session, claimed: Claimed) -> None:
        """Change names at the destination; a rename that fails only means that the file is sent."""
        names = names_of(session)
        if names is not None and claimed.renames:
            self._renamed(claimed.renames, await self._changed(names, claimed.renames))
        if not claimed.errands:
            return
        errands = in_order(claimed.errands)
        changes = [errand.change for errand in errands]
        answers = await self._changed(names, changes) if names is not None else [UNABLE] * len(changes)
        ends = await self._ask(lambda journal: self._turns.done(journal, errands, answers))
        self.recorded()
        self._settle()
        for end in ends:
            if end.state in ("queued", "failed"):
                self._show.say(f"{end.key.path}: {end.reason}")

    def _renamed(self, renames: Sequence[Change], answers: Sequence[DrayError | None]) -> None:
        for change, answer in zip(renames, answers, strict=True):
            if answer is None:
                self._flying[change.path] = replace(self._flying[change.path], renamed=change.target)

    async def _changed(self, names: Names, changes: Sequence[Change]) -> Sequence[DrayError | None]:
        """Make changes; a call that failed as a whole is the answer to each."""
        try:
            return await names.change(changes)
        except DrayError as error:
            self.trouble = error
            return [error] * len(changes)

    async def _more(self, drain: bool) -> bool:
        """Wait until there may be more to send; say no when it is better to let the session go."""
        due = await self._due()
        if not self._flying and (due is None or due > 0):
            self._show.idle()
        idle = not self._flying and (due is None or (drain and due > LONG))
        if idle and drain:
            return False
        return await first(self._woken.wait(), timeout=IDLE if due is None else max(due, 0.0)) or not idle

    async def _land(self, outcomes: Sequence[Outcome]) -> None:
        """Record how a batch ended, tell it, and remember digests for later questions."""
        errors = [outcome.error for outcome in outcomes if isinstance(outcome.error, DrayError)]
        trouble = of_destination(errors, len(outcomes))
        landed = [self._landed(outcome, trouble) for outcome in outcomes]
        self._note(outcomes, trouble)
        for one, end in zip(landed, await self._recorded(landed), strict=True):
            self._tell(one, end)
        self._settle()
        self.wake()

    def _tell(self, landed: Landed, end: Ended) -> None:
        """Tell the end of a file, or why there will be another try."""
        if end.state in ("delivered", "failed"):
            self._show.outcome(landed.outcome)
            return
        self._show.phase(landed.outcome.path, "wait")
        if not landed.excused:
            self._show.say(f"{end.reason}; it is tried again")

    def _landed(self, outcome: Outcome, trouble: DrayError | None) -> Landed:
        excused = trouble is not None and (isinstance(outcome.error, (type(trouble), *OF_DESTINATION)))
        return Landed(self._flying.pop(outcome.path), outcome, excused, random.random())  # noqa: S311

    def _note(self, outcomes: Sequence[Outcome], trouble: DrayError | None) -> None:
        if trouble is not None:
            self.trouble = trouble
        elif any(outcome.error is None for outcome in outcomes):
            self._pauses = 0

    async def _ask(self, work: Callable[[Journal], R]) -> R:
        """Use the journal, waiting while its disk is full: what arrived must not be forgotten for that."""
        while True:
            try:
                return await self._ledger.run(work)
            except NoSpace as error:
                self._show.waiting(str(error))
                await asyncio.sleep(SPACE)

    async def _recorded(self, landed: Sequence[Landed]) -> list[Ended]:
        """Record how a batch ended, and tell of what arrived."""
        ends = await self._ask(lambda journal: self._turns.end(journal, landed))
        self.recorded()
        if self._lane.arrived is not None:
            await self._lane.arrived([one.outcome for one in landed if one.outcome.error is None])
        return ends

    async def _abandon(self) -> None:
        """Queue again what was on its way when the session broke off."""
        flights, self._flying = list(self._flying.values()), {}
        if flights:
            await self._ask(lambda journal: self._turns.back(journal, [flight.queued for flight in flights]))

    async def _pause(self, stop: asyncio.Event, drain: bool) -> bool:
        """Leave a destination that failed alone for a while; say whether to try again then."""
        error = self.trouble
        if error is None or stop.is_set():
            return False
        self._pauses += 1
        if drain and self._gave_up():
            return False
        seconds = pause(error, self._pauses, random.random())  # noqa: S311
        self._show.waiting(f"{error}; next try in {seconds:.0f} s")
        return not await first(stop.wait(), timeout=seconds)


async def first(*waits: Coroutine[None, None, object], timeout: float | None = None) -> bool:
    """Wait for the first of several things; say whether any came in time."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()
