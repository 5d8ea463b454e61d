"""Publishes over one link that is opened when it is needed and opened again after it broke."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from dray.errors import NotFound
from dray.messaging.broker import Broker, Declared, Failure, Link, Message


class Publisher:
    """Publishes messages; each time a link is opened it is prepared first. Use it with ``async with``.

    A call that fails may be made again: the next one opens a new link. Calls may overlap.
    """

    def __init__(self, broker: Broker, prepare: Callable[[Link], Awaitable[None]], name: str) -> None:
        self._broker, self._prepare, self._name = broker, prepare, name
        self._open: AsyncExitStack | None = None
        self._link: Link | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> "Publisher":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop(self._link)

    async def publish(self, messages: Sequence[Message]) -> list[Failure | None]:
        """Publish and return None for each message the broker has, else why it has it not; raises when it is away."""
        link = await self._linked()
        try:
            answers = list(await link.publish(messages))
        except BaseException:
            await self._drop(link)
            raise
        if any(isinstance(answer, NotFound) for answer in answers):
            await self._drop(link)
        return answers

    async def _linked(self) -> Link:
        async with self._opening:
            if self._link is None:
                async with AsyncExitStack() as stack:
                    link = await stack.enter_async_context(self._broker.connect(self._name))
                    await self._prepare(link)
                    self._open, self._link = stack.pop_all(), link
            return self._link

    async def _drop(self, link: Link | None) -> None:
        """Close a link that broke, unless somebody did and opened another one."""
        if link is not None and self._link is link and self._open is not None:
            stack, self._open, self._link = self._open, None, None
            await stack.aclose()


def raise_missing(declared: Sequence[Declared]) -> None:
    """Raise the reason of the first thing that is missing."""
    for one in declared:
        if one.problem is not None:
            raise one.problem
