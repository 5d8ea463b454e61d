import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from dray.api.slots import Slots
from dray.errors import Busy


def mine() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


async def hold(slots: Slots, key: str, held: asyncio.Event, release: asyncio.Event, ended: list[str]) -> str:
    await slots.take(mine(), [key])
    held.set()
    try:
        await release.wait()
    finally:
        ended.append("left")
    return "done"


async def answer(slots: Slots, key: str) -> str:
    await slots.take(mine(), [key])
    return "newer"


def test_a_newer_request_waits_until_the_older_one_has_let_go() -> None:
    async def story() -> None:
        slots, held, ended = Slots(), asyncio.Event(), list[str]()
        older = asyncio.ensure_future(slots.run(hold(slots, "k", held, asyncio.Event(), ended)))
        await held.wait()
        assert await slots.run(answer(slots, "k")) == "newer"
        assert ended == ["left"]
        with pytest.raises(Busy):
            await older

    asyncio.run(story())


def test_other_things_are_not_disturbed() -> None:
    async def story() -> None:
        slots, held, release, ended = Slots(), asyncio.Event(), asyncio.Event(), list[str]()
        older = asyncio.ensure_future(slots.run(hold(slots, "k", held, release, ended)))
        await held.wait()
        assert await slots.run(answer(slots, "other")) == "newer"
        release.set()
        assert await older == "done"

    asyncio.run(story())


def test_a_request_that_came_first_but_was_slow_does_not_end_a_newer_one() -> None:
    async def story() -> None:
        slots, go, held, release = Slots(), asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            await go.wait()
            return await answer(slots, "k")

        first = asyncio.ensure_future(slots.run(slow()))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(slots.run(hold(slots, "k", held, release, [])))
        await held.wait()
        go.set()
        with pytest.raises(Busy):
            await first
        release.set()
        assert await second == "done"

    asyncio.run(story())


def test_of_many_at_once_the_newest_wins_and_all_end() -> None:
    async def story() -> None:
        slots = Slots()

        async def receive(number: int) -> int:
            await slots.take(mine(), ["k"])
            for _ in range(number % 3):
                await asyncio.sleep(0)
            return number

        works: list[Coroutine[Any, Any, int]] = [slots.run(receive(number)) for number in range(50)]
        results = await asyncio.gather(*works, return_exceptions=True)
        assert results[-1] == 49
        assert all(isinstance(result, int | Busy) for result in results)

    asyncio.run(story())


def test_ending_the_caller_ends_the_work() -> None:
    async def story() -> None:
        slots, held, ended = Slots(), asyncio.Event(), list[str]()
        caller = asyncio.ensure_future(slots.run(hold(slots, "k", held, asyncio.Event(), ended)))
        await held.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert ended == ["left"]
        assert await slots.run(answer(slots, "k")) == "newer"

    asyncio.run(story())
