"""A bounded number of things at once."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from dray.moving.bounded import bounded
from dray.threads import in_thread


def test_no_more_run_at_once_than_allowed_and_none_is_lost() -> None:
    running, most = 0, 0

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        running -= 1
        return item * 2

    async def story() -> list[int]:
        return sorted([result async for result in bounded(range(50), work, 3)])

    assert asyncio.run(story()) == [2 * n for n in range(50)]
    assert most == 3


@pytest.mark.parametrize("ahead", [0, 2])
def test_items_are_asked_for_only_as_far_ahead_as_there_is_room(ahead: int) -> None:
    asked, released = 0, asyncio.Event()

    async def items() -> AsyncIterator[int]:
        nonlocal asked
        for number in range(100):
            asked += 1
            yield number

    async def work(item: int) -> int:
        await released.wait()
        return item

    async def story() -> None:
        feed = bounded(items(), work, 2, ahead=ahead)
        first = asyncio.ensure_future(anext(feed))
        for _ in range(50):
            await asyncio.sleep(0)
        assert asked == 2 + ahead
        released.set()
        await first
        await feed.aclose()

    asyncio.run(story())


def test_the_first_failure_stops_all_and_comes_out() -> None:
    ended: list[str] = []

    async def work(item: int) -> int:
        try:
            if item == 2:
                raise ValueError("no")
            await asyncio.Event().wait()
        finally:
            ended.append(str(item))
        return item

    async def story() -> None:
        with pytest.raises(ValueError, match="no"):
            async for _ in bounded(range(10), work, 3):
                pass

    asyncio.run(story())
    assert sorted(ended) == ["0", "1", "2"]


def test_a_failing_source_stops_what_runs() -> None:
    cancelled: list[int] = []

    async def items() -> AsyncIterator[int]:
        yield 1
        raise ValueError("source")

    async def work(item: int) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    async def story() -> None:
        with pytest.raises(ValueError, match="source"):
            async for _ in bounded(items(), work, 3):
                pass

    asyncio.run(story())
    assert cancelled == [1]


def test_closing_it_closes_where_the_items_come_from() -> None:
    closed: list[bool] = []

    async def items() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    async def work(item: int) -> int:
        return item

    async def story() -> None:
        feed = bounded(items(), work, 1)
        await anext(feed)
        await feed.aclose()

    asyncio.run(story())
    assert closed == [True]


def test_a_cancelled_caller_waits_for_its_thread() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        ended.set()

    async def story() -> None:
        task = asyncio.create_task(in_thread(None, work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(story())
