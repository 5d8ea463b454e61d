"""A bounded number of things at once, results as they come."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def bounded(
    items: AsyncIterable[T] | Iterable[T], work: Callable[[T], Awaitable[R]], parallel: int, *, ahead: int = 0
) -> AsyncGenerator[R, None]:
    """Yield the result of ``work`` for each item, in the order they end, ``parallel`` at a time.

    Items are asked for only when there is room for them: a free worker, or one of ``ahead`` waiting places. The first
    exception, of the work or of the items, stops everything that runs and is raised.
    """
    crew = _Crew(each_of(items), work, parallel, parallel + ahead)
    try:
        while crew.busy():
            for result in await crew.step():
                yield result
    finally:
        await crew.stop()


async def each_of(items: AsyncIterable[T] | Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items of either kind of iterable, and close the generator they came from."""
    if not isinstance(items, AsyncIterable):
        for item in items:
            yield item
        return
    try:
        async for item in items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


class _Crew(Generic[T, R]):
    def __init__(
        self, items: AsyncGenerator[T, None], work: Callable[[T], Awaitable[R]], parallel: int, room: int
    ) -> None:
        self.items = items
        self.work = work
        self.parallel = parallel
        self.room = room
        self.ended = False
        self.coming: asyncio.Task[bool] | None = None
        self.waiting: deque[T] = deque()
        self.running: set[asyncio.Task[R]] = set()

    def busy(self) -> bool:
        """Start what may start and say whether anything is going on."""
        while self.waiting and len(self.running) < self.parallel:
            self.running.add(asyncio.create_task(self._run(self.waiting.popleft())))
        if self.coming is None and not self.ended and len(self.waiting) + len(self.running) < self.room:
            self.coming = asyncio.create_task(self._pull())
        return bool(self.running) or self.coming is not None

    async def step(self) -> list[R]:
        """Wait until something happens and return the results that are there."""
        coming = [] if self.coming is None else [self.coming]
        await asyncio.wait([*self.running, *coming], return_when=asyncio.FIRST_COMPLETED)
        if self.coming is not None and self.coming.done():
            self.ended, self.coming = not self.coming.result(), None
        done = [task for task in self.running if task.done()]
        self.running.difference_update(done)
        failed = [error for task in done if (error := task.exception()) is not None]
        if failed:
            raise failed[0]
        return [task.result() for task in done]

    async def stop(self) -> None:
        """Cancel what runs and wait for it, so that nothing touches a file that its owner closes next."""
        left: list[asyncio.Task[R] | asyncio.Task[bool]] = [*self.running]
        if self.coming is not None:
            left.append(self.coming)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.items.aclose()

    async def _pull(self) -> bool:
        try:
            self.waiting.append(await anext(self.items))
        except StopAsyncIteration:
            return False
        return True

    async def _run(self, item: T) -> R:
        return await self.work(item)
