"""Two-stage Ctrl-C: the first press lets running parts finish, the second stops now, the third leaves at once."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

from dray.cli.exits import INTERRUPTED

T = TypeVar("T")

FIRST = "finishing what runs; press Ctrl-C again to stop now"
SECOND = "stopping now"
PATIENCE = 10.0
"""Seconds from the second press until the process leaves without waiting for its threads."""


class Interrupted(Exception):
    """The work was stopped at the second press; whatever is durable stays and is resumed."""


class Stop:
    """Tells the running story that the user wants it to end.

    A story looks at ``asked`` between parts, or waits for ``event``; it starts nothing new once it is set, and
    returns what it has. Nothing needs to be cleaned up: the second press may cancel it anywhere.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Say whether the first press has happened."""
        return self.event.is_set()

    async def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the first press."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.event.wait(), seconds)


Story = Callable[[Stop], Coroutine[None, None, T]]


def run(story: Story[T], say: Callable[[str], None], leave: Callable[[int], None] = os._exit) -> tuple[T, bool]:
    """Run ``story`` in an event loop; return its value and whether the user asked it to stop.

    Raises Interrupted when a second press cancelled it.
    """
    presses = _Presses(say, leave)
    try:
        return asyncio.run(_guarded(story, presses))
    finally:
        presses.end()


async def _guarded(story: Story[T], presses: "_Presses") -> tuple[T, bool]:
    stop = Stop()
    work = asyncio.ensure_future(story(stop))
    try:
        with _signals(asyncio.get_running_loop(), lambda: presses.press(stop, work)):
            return await work, stop.asked
    except asyncio.CancelledError:
        if presses.count < 2:
            raise
        raise Interrupted from None


class _Presses:
    """Counts the presses and does what each of them means."""

    def __init__(self, say: Callable[[str], None], leave: Callable[[int], None]) -> None:
        self.count = 0
        self._say, self._leave = say, leave
        self._timer = threading.Timer(PATIENCE, leave, (INTERRUPTED,))
        self._timer.daemon = True

    def press(self, stop: Stop, work: "asyncio.Future[T]") -> None:
        self.count += 1
        if self.count == 1:
            stop.event.set()
            self._say(FIRST)
        elif self.count == 2:
            self._say(SECOND)
            work.cancel()
            # A thread inside a C library cannot be cancelled; what it has not receipted is sent again next time.
            self._timer.start()
        else:
            self._leave(INTERRUPTED)

    def end(self) -> None:
        self._timer.cancel()


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, press: Callable[[], None]) -> Iterator[None]:
    """Call ``press`` in the loop at each SIGINT or SIGTERM; only the main thread can do so, others change nothing."""

    def handle(signum: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(press)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
