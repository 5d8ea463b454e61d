"""The bell wakes whoever listens, from any thread."""

import asyncio
import threading

from dray.core.bell import Bell


def test_a_ring_between_the_look_and_the_wait_is_not_missed() -> None:
    async def story() -> None:
        bell = Bell()
        with bell.listen("topic") as ear:
            bell.ring("topic", [1, 2])
            bell.ring("other", [3])
            assert await ear.wait(10.0)
            assert ear.heard == {1, 2}
            assert not await ear.wait(0.01)

    asyncio.run(story())


def test_a_ring_from_another_thread_wakes_all_who_listen() -> None:
    async def story() -> None:
        bell = Bell()
        with bell.listen("topic") as one, bell.listen("topic") as two:
            thread = threading.Thread(target=bell.ring, args=("topic", [7]))
            thread.start()
            assert await one.wait(10.0)
            assert await two.wait(10.0)
            thread.join()
        bell.ring("topic")
        assert not await one.wait(0.01)

    asyncio.run(story())


def test_an_ear_whose_loop_has_ended_hinders_nobody() -> None:
    bell = Bell()

    async def leave() -> None:
        bell.listen("topic").__enter__()

    async def later() -> None:
        with bell.listen("topic") as ear:
            bell.ring("topic")
            bell.ring("topic")
            assert await ear.wait(10.0)

    asyncio.run(leave())
    asyncio.run(later())
