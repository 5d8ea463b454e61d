"""One request at a time for each thing that is being received; the newest one wins."""

import asyncio
from collections.abc import Coroutine, Hashable, Iterable
from itertools import count
from typing import Any, TypeVar

from dray.errors import Busy

T = TypeVar("T")


class Slots:
    """Runs receiving tasks; a newer one for the same thing ends an older one, whose client has gone or given up."""

    def __init__(self) -> None:
        self._numbers = count()
        self._arrived: dict[asyncio.Task[Any], int] = {}
        self._holders: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns; raises Busy when a newer request took its place."""
        task = asyncio.ensure_future(work)
        self._arrived[task] = next(self._numbers)
        task.add_done_callback(self._forget)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise _overtaken() from None

    async def take(self, task: asyncio.Task[Any], keys: Iterable[Hashable]) -> None:
        """Give ``keys`` to a task that ``run`` runs: older holders are ended first, Busy when a newer one has a key."""
        for key in keys:
            while (holder := self._holders.get(key)) not in (None, task):
                if self._arrived[holder] > self._arrived[task]:
                    raise _overtaken()
                holder.cancel()
                await asyncio.wait([holder])
            self._holders[key] = task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._arrived[task]
        for key in [key for key, holder in self._holders.items() if holder is task]:
            del self._holders[key]


def _overtaken() -> Busy:
    return Busy("a newer request brings the same bytes", hint="only the newest one is answered", after=1.0)
