"""Several batches on their way at once, in bounded memory, with a stop that lets them arrive."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence

from dray.model.values import Outcome
from dray.moving.bounded import bounded, each_of
from dray.moving.move import SILENT, move
from dray.moving.report import Report
from dray.moving.source import Item, Source
from dray.transports.base import Session

Batches = AsyncIterable[Sequence[Item]] | Iterable[Sequence[Item]]


async def run(
    batches: Batches,
    source: Source,
    destination: Session,
    report: Report = SILENT,
    *,
    parallel: int = 3,
    stop: asyncio.Event | None = None,
) -> AsyncGenerator[list[Outcome], None]:
    """Move batches, ``parallel`` at a time, and yield the outcomes of each when it ends.

    Two-stage stop: once ``stop`` is set no new batch or part begins and those that run end in peace; closing (or
    cancelling) the generator stops those too. A plain iterable is read on the event loop, so it must not touch a disk.
    """

    stopping = stop or asyncio.Event()

    async def one(batch: Sequence[Item]) -> list[Outcome]:
        return await move(batch, source, destination, report, stopping)

    results = bounded(_until(stopping, batches), one, parallel)
    try:
        async for outcomes in results:
            yield outcomes
    finally:
        await results.aclose()


async def _until(stop: asyncio.Event, batches: Batches) -> AsyncGenerator[Sequence[Item], None]:
    """Pass batches on until ``stop`` is set, even while the next one is waited for."""
    stopped = asyncio.create_task(stop.wait())
    feed = each_of(batches)
    try:
        while (batch := await _next_or(stopped, feed)) is not None:
            yield batch
    finally:
        stopped.cancel()
        await feed.aclose()


async def _next_or(stopped: asyncio.Task[bool], feed: AsyncIterator[Sequence[Item]]) -> Sequence[Item] | None:
    coming = asyncio.ensure_future(anext(feed, None))
    try:
        await asyncio.wait([coming, stopped], return_when=asyncio.FIRST_COMPLETED)
        return None if stopped.done() else coming.result()
    finally:
        coming.cancel()
        await asyncio.wait([coming])
