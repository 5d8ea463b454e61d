"""One request at a time for each thing that is being received; the newest one wins."""

import asyncio
from collections.abc import Coroutine, Hashable, Iterable
from typing import Any, TypeVar

from dray.errors import Busy

T = TypeVar("T")


class Slots:
    """Runs receiving tasks; a newer one for the same thing ends an older one, whose client has gone or given up."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns; raises Busy when a newer request took its place."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._forget)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise Busy("a newer request brings the same bytes", hint="only the newest one is answered") from None

    async def take(self, task: asyncio.Task[Any] | None, keys: Iterable[Hashable]) -> None:
        """Give ``keys`` to a task that ``run`` runs; whoever has one of them is ended first."""
        if task is None:
            return
        for key in keys:
            while (older := self._running.get(key)) not in (None, task):
                older.cancel()
                await asyncio.wait([older])
            self._running[key] = task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running = {key: running for key, running in self._running.items() if running is not task}
