"""Takes from a blocking iterator in a thread, one chunk ahead of whoever uses it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from typing import TypeVar

from dray.threads import in_thread

T = TypeVar("T")

CHUNK = 4096


async def in_chunks(items: Iterator[T], size: int = CHUNK) -> AsyncGenerator[list[T], None]:
    """Yield lists of up to ``size`` items; the next one is being made while one is used."""
    coming = asyncio.create_task(in_thread(None, _take, items, size))
    try:
        while chunk := await coming:
            coming = asyncio.create_task(in_thread(None, _take, items, size))
            yield chunk
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _take(items: Iterator[T], size: int) -> list[T]:
    return list(islice(items, size))
