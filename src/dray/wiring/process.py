"""The life of a server process: one loop, two stages of stopping, everything closed in the end."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

STOPPED = 0
INTERRUPTED = 130
PATIENCE = 10.0
"""Seconds from the second signal until the process leaves without waiting for its threads."""

FILES = 65_536
YOUNG = 50_000
"""New objects after which the youngest are looked through; Python's own 700 cost a sixth of the time of small files."""

Say = Callable[[str], None]


class Stop:
    """What the first signal sets. ``now`` is called at the second one."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.now: Callable[[], None] = lambda: None


Life = Callable[[Stop], Coroutine[Any, Any, None]]


def run(life: Life, say: Say) -> int:
    """Run a server until it is told to stop; return the exit code of the process."""
    _allow_files()
    _collect_seldom()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_guarded(life, say))


def _allow_files() -> None:
    """Raise the limit of open files as far as the system lets us: a connection is one, a file that is sent is one."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _collect_seldom() -> None:
    """Look for dead cycles less often, and never in what was imported: rows in batches of hundreds are no garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _guarded(life: Life, say: Say) -> int:
    stop = Stop()
    living = asyncio.ensure_future(life(stop))
    signals = _Signals(stop, living, say)
    signals.listen()
    try:
        await living
    except asyncio.CancelledError:
        if signals.count < 2:
            raise
        return INTERRUPTED
    return STOPPED


class _Signals:
    """Counts SIGTERM and SIGINT and does what each of them means."""

    def __init__(self, stop: Stop, living: "asyncio.Future[None]", say: Say) -> None:
        self.count = 0
        self._stop = stop
        self._living = living
        self._say = say
        self._loop = asyncio.get_running_loop()

    def listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._next)

    def _next(self) -> None:
        self.count += 1
        if self.count == 1:
            self._say("stopping: what runs is finished; once more stops now")
            self._stop.event.set()
        elif self.count == 2:
            self._say("stopping now")
            self._stop.now()
            self._living.cancel()
            self._leave_later()

    def _leave_later(self) -> None:
        # A thread in a system call cannot be cancelled; what it has not receipted is sent again.
        timer = threading.Timer(PATIENCE, os._exit, (INTERRUPTED,))
        timer.daemon = True
        timer.start()
