"""Listening by watchfiles, where there is no inotify."""

import asyncio
import os
from collections.abc import Callable
from functools import partial

import watchfiles

from dray.agent.bell import Heard, Rings
from dray.agent.journal import Key

GATHER = 100
"""Milliseconds over which changes are gathered."""


class Watchfiles:
    """A bell that tells that a name was made or changed, never that it is finished."""

    name = "watchfiles"
    trusted = True

    def __init__(self, root: str, say: Callable[[str], None], deletions: bool = False) -> None:
        self._root, self._say, self._deletions = root, say, deletions
        self._heard = Heard()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    def watch(self, folder: str) -> None:
        """Do nothing: the whole tree is listened to."""

    async def rings(self) -> Rings:
        """Wait until something was heard and return all of it."""
        return await self._heard.take()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._task.cancel()

    async def _listen(self) -> None:
        awatch = partial(watchfiles.awatch, watch_filter=None, ignore_permission_denied=True, stop_event=self._stop)
        try:
            async for changes in awatch(self._root, debounce=GATHER, step=GATHER // 5):
                for change, path in changes:
                    self._hear(change, path)
                self._heard.tell()
        except (OSError, RuntimeError) as error:
            self.trusted = False
            self._say(f"changes are not told any more ({error}); new files are found by looking")

    def _hear(self, change: watchfiles.Change, path: str) -> None:
        below = os.path.relpath(path, self._root).replace(os.sep, "/")
        if (self._deletions or change != watchfiles.Change.deleted) and below != ".":
            folder, _, name = below.rpartition("/")
            self._heard.rings.hear(Key(folder, name), "found")
