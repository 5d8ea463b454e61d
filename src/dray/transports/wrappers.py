"""Sessions around a session: retry, throttle, log. Each is a Session itself; wiring stacks them."""

import asyncio
import copy
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from dray.client.rate import Rate
from dray.clock import Clock
from dray.errors import DrayError, SourceChanged
from dray.model.names import printable
from dray.model.retry import FOR_DAYS, Persistence, decide_retry
from dray.model.values import Claim, Entry, Landing, Limits, Proof, Receipt, Ref, Staged
from dray.transports.base import Failure, Piece, Session

Q = TypeVar("Q")
R = TypeVar("R")
Call = Callable[[Sequence[Q]], Awaitable[Sequence[R | DrayError]]]
Waiting = Callable[[DrayError, float], None]
LOG = logging.getLogger("dray.transports")


class Wrapper:
    """Passes every call on to the session inside."""

    def __init__(self, inner: Session) -> None:
        self.inner = inner

    @property
    def limits(self) -> Limits:
        """Return those of the session inside."""
        return self.inner.limits

    async def around(self, name: str, call: Call[Q, R], items: Sequence[Q]) -> Sequence[R | DrayError]:
        """Make one call; what a wrapper adds, it adds here."""
        return await call(items)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """See ``Session``."""
        async for entry in self.inner.list(prefix):
            yield entry

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """See ``Session``."""
        return await self.around("stage", self.inner.stage, landings)

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """See ``Session``."""
        return await self.around("write", self.inner.write, pieces)

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """See ``Session``."""
        return await self.around("read", self.inner.read, pieces)

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """See ``Session``."""
        return await self.around("verify", self.inner.verify, claims)

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """See ``Session``."""
        return await self.around("publish", self.inner.publish, staged)

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """See ``Session``."""
        return await self.around("remove", self.inner.remove, refs)


class Retrying(Wrapper):
    """Makes calls that failed again, for the items that failed, as long as ``decide_retry`` says.

    Any item that succeeds is progress and begins the count anew. ``waiting`` hears of each wait before it begins.
    What ``verify`` or ``publish`` say of single items is passed on at once, since only staging and writing again would
    change it; that their connection broke is not.
    """

    by_item = frozenset({"stage", "write", "read", "remove"})

    def __init__(
        self,
        inner: Session,
        clock: Clock,
        waiting: Waiting = lambda error, delay: None,
        persistence: Persistence = FOR_DAYS,
    ) -> None:
        super().__init__(inner)
        self.clock = clock
        self.persistence = persistence
        self.waiting = waiting
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self.jitter: Callable[[], float] = random.random

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Begin a listing that broke again, and go on behind the last entry: they come in path order."""
        last, patience = "", self._patience()
        while True:
            try:
                async for entry in self.inner.list(prefix):
                    if entry.path > last:
                        last, patience = entry.path, self._patience()
                        yield entry
                return
            except DrayError as error:
                delay = patience.after(error)
                if delay is None:
                    raise
                self.waiting(error, delay)
            await self.sleep(delay)

    async def around(self, name: str, call: Call[Q, R], items: Sequence[Q]) -> Sequence[R | DrayError]:
        """Repeat the call for what failed and may succeed later."""
        answers: dict[int, R | DrayError] = {}
        left = list(range(len(items)))
        patience = self._patience()
        while True:
            error, found = await _caught(call, [items[index] for index in left])
            answers.update(zip(left, found, strict=True))
            if error is None and name in self.by_item:
                failed = [index for index in left if _may_succeed(answers[index])]
                patience = patience if len(failed) == len(left) else self._patience()
                left = failed
                error = next((one for index in left if isinstance(one := answers[index], DrayError)), None)
            delay = patience.after(error)
            if error is None or delay is None:
                return [answers[index] for index in range(len(items))]
            self.waiting(error, delay)
            await self.sleep(delay)

    def _patience(self) -> "Patience":
        return Patience(self.clock, self.jitter, self.persistence)


class Patience:
    """Counts failures without progress."""

    def __init__(self, clock: Clock, jitter: Callable[[], float], persistence: Persistence = FOR_DAYS) -> None:
        self._clock = clock
        self._jitter = jitter
        self._persistence = persistence
        self._attempt = 0
        self._since = 0.0

    def after(self, error: DrayError | None) -> float | None:
        """Return how long to wait after this failure; None when there was none, or when it is to be given up."""
        if error is None:
            return None
        now = self._clock.monotonic()
        self._attempt += 1
        self._since = now if self._attempt == 1 else self._since
        jitter = self._jitter()
        return decide_retry(error, self._attempt, self._since, now, jitter=jitter, persistence=self._persistence)


async def _caught(call: Call[Q, R], items: Sequence[Q]) -> tuple[DrayError | None, Sequence[R | DrayError]]:
    """Return the answers; a failure of the whole call is that, and the answer of each item."""
    try:
        return None, await call(items)
    except DrayError as error:
        return error, [copy.copy(error) for _ in items]


def _may_succeed(answer: object) -> bool:
    """Say whether writing or asking the same again may help; a source that changed stays changed."""
    return isinstance(answer, DrayError) and answer.retry == "later" and not isinstance(answer, SourceChanged)


class Throttled(Wrapper):
    """Lets bytes through at a rate, which may be changed while it works and is shared by all who have it."""

    def __init__(self, inner: Session, rate: Rate) -> None:
        super().__init__(inner)
        self.rate = rate
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Wait until the bytes may move, then write them."""
        await self._wait(pieces)
        return await self.inner.write(pieces)

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Wait until the bytes may move, then read them."""
        await self._wait(pieces)
        return await self.inner.read(pieces)

    async def _wait(self, pieces: Sequence[Piece]) -> None:
        delay = self.rate.take(sum(piece.at.length for piece in pieces))
        if delay > 0:
            await self.sleep(delay)


class Logged(Wrapper):
    """Writes a line for each call, and one for each item that failed."""

    def __init__(self, inner: Session, name: str, log: logging.Logger = LOG) -> None:
        super().__init__(inner)
        self.name = name
        self.log = log

    async def around(self, name: str, call: Call[Q, R], items: Sequence[Q]) -> Sequence[R | DrayError]:
        """Log the call, with the failures of its items."""
        try:
            answers = await call(items)
        except DrayError as error:
            self.log.warning("%s %s of %d failed: %s", self.name, name, len(items), printable(str(error)))
            raise
        failed = [answer for answer in answers if isinstance(answer, DrayError)]
        self.log.debug("%s %s of %d, %d failed", self.name, name, len(items), len(failed))
        for failure in failed:
            self.log.warning("%s %s: %s", self.name, name, printable(str(failure)))
        return answers
