"""Work in a thread for code on the event loop, without leaving one behind that still uses a file or buffer."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(pool: Executor | None, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``work`` in a thread of ``pool``; a cancelled caller still waits until the thread has ended."""
    running = asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        # Whoever cancelled does not want to know how it ended; asyncio complains about what nobody looked at.
        running.exception()
        raise
