"""Takes messages from one durable queue for ever: connects, declares, consumes, begins anew when anything breaks."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol

from dray.errors import DrayError, NotFound, Temporary
from dray.messaging.broker import Arrival, Binding, Broker, Consumption, Topology
from dray.messaging.publisher import raise_missing
from dray.model.retry import Persistence, decide_retry
from dray.model.values import Value

AHEAD = 500
"""Messages that are taken ahead of their acknowledgement."""

LONGEST = 4.0
"""Most seconds between two tries to reach a broker, so that work goes on soon after it is back."""

AGAIN = Persistence(1.0, LONGEST)

SELDOM = 30.0
"""Seconds between two tries where somebody has to do something first, such as give a right."""


class Memory(Protocol):
    """Remembers, durably, whether a queue was ever there, and whether what may have been lost in it was looked for."""

    async def missing(self) -> None:
        """Remember, before it is made, that the queue is not there: a loss if it ever was."""

    async def there(self) -> None:
        """Remember that the queue is there."""

    async def is_lost(self) -> bool:
        """Say whether there was a loss that nobody has made up for."""

    async def found(self) -> None:
        """Remember that somebody has."""


class Received(Value, frozen=True):
    """Messages that came together; ``lost`` says that the queue had vanished, and whatever was in it.

    ``round`` tells which consumption they came with: only that one can acknowledge them.
    """

    arrivals: tuple[Arrival, ...]
    lost: bool = False
    round: int = 0


class Receiver:
    """Receives what a queue is bound to. Use it with ``async with``.

    Whoever makes a queue again that had vanished has to look for what may have been in it: that is remembered before
    it is made, until it was done. ``waiting`` is called with the reason and the seconds until the next try,
    and with None once messages can come.
    """

    def __init__(
        self,
        broker: Broker,
        binding: Binding,
        memory: Memory,
        waiting: Callable[[DrayError | None, float], None],
    ) -> None:
        self._broker, self._binding = broker, binding
        self._memory, self._waiting = memory, waiting
        self._open: AsyncExitStack | None = None
        self._consumption: Consumption | None = None
        self._failures, self._round, self._lost = 0, 0, False

    async def __aenter__(self) -> "Receiver":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()

    async def next(self) -> Received:
        """Wait for messages, however long the broker is away, and return all there are."""
        while True:
            try:
                consumption = self._consumption or await self._begin()
                if self._lost:
                    return Received((), lost=True, round=self._round)
                arrivals = await consumption.next()
                return Received(tuple(arrivals), round=self._round)
            except DrayError as error:
                await self._drop()
                await self._pause(error)

    async def acknowledge(self, received: Received, refused: Sequence[int] = ()) -> None:
        """Let the broker forget messages; those of a link that broke come again, which does no harm."""
        if received.lost:
            await self._memory.found()
            self._lost = False
        if received.round != self._round or self._consumption is None:
            return
        taken = [one.number for one in received.arrivals if one.number not in refused]
        try:
            await self._consumption.acknowledge(taken, refused)
        except DrayError as error:
            await self._drop()
            self._waiting(error, 0.0)

    async def pause(self) -> None:
        """Close the link until the next call of ``next``; what is not acknowledged goes to others."""
        await self._drop()

    async def _begin(self) -> Consumption:
        """Connect, declare and consume; ends with everything open, or nothing."""
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(self._broker.connect(f"dray {self._binding.queue}"))
            if not await link.has_queue(self._binding.queue):
                await self._memory.missing()
            declared = await link.declare(Topology((self._binding.exchange,), (self._binding,)))
            raise_missing([one for one in declared if one.kind != "exchange"])
            await self._memory.there()
            self._lost = await self._memory.is_lost()
            consumption = await link.consume(self._binding.queue, AHEAD)
            self._open, self._consumption = stack.pop_all(), consumption
        self._failures, self._round = 0, self._round + 1
        self._waiting(None, 0.0)
        return consumption

    async def _drop(self) -> None:
        stack, self._open, self._consumption = self._open, None, None
        if stack is not None:
            await stack.aclose()

    async def _pause(self, error: DrayError) -> None:
        self._failures += 1
        luck = random.random()  # noqa: S311
        passing = Temporary(error.message) if isinstance(error, NotFound) else error
        seconds = decide_retry(passing, self._failures, 0.0, 0.0, jitter=luck, persistence=AGAIN) or SELDOM
        self._waiting(error, seconds)
        await asyncio.sleep(seconds)
