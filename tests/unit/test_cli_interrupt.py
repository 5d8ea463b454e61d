"""Ctrl-C once finishes what runs, twice stops it, three times leaves at once."""

import asyncio
import os
import signal

import pytest

from dray.cli import exits
from dray.cli.interrupt import FIRST, SECOND, Interrupted, Stop, run

Said = list[str]


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


async def forever(stop: Stop) -> str:
    press()
    await stop.event.wait()
    press()
    await asyncio.Event().wait()
    return "never"


def test_a_story_that_is_left_alone_ends_with_its_value() -> None:
    async def story(stop: Stop) -> int:
        return 7

    assert run(story, print) == (7, False)


def test_the_first_press_lets_the_story_finish() -> None:
    said: Said = []

    async def story(stop: Stop) -> str:
        press()
        await stop.event.wait()
        return "half of it"

    assert run(story, said.append) == ("half of it", True)
    assert said == [FIRST]


def test_the_second_press_cancels_the_story() -> None:
    said: Said = []
    with pytest.raises(Interrupted):
        run(forever, said.append)
    assert said == [FIRST, SECOND]


def test_the_third_press_leaves_at_once() -> None:
    left: list[int] = []

    async def stubborn(stop: Stop) -> None:
        for _ in range(3):
            press()
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    run(stubborn, lambda text: None, left.append)
    assert left == [exits.INTERRUPTED]


def test_a_cancellation_of_its_own_is_not_taken_for_a_press() -> None:
    async def story(stop: Stop) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(story, print)


def test_the_handlers_of_before_are_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    async def story(stop: Stop) -> None:
        assert signal.getsignal(signal.SIGINT) is not before

    run(story, print)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_story_outside_the_main_thread_runs_without_handlers() -> None:
    async def story(stop: Stop) -> bool:
        return stop.asked

    async def outside() -> tuple[bool, bool]:
        return await asyncio.to_thread(run, story, print)

    assert asyncio.run(outside()) == (False, False)


def test_waiting_ends_with_the_time_or_the_press() -> None:
    async def story(stop: Stop) -> list[bool]:
        await stop.wait(0.001)
        before = stop.asked
        press()
        await stop.wait(60)
        return [before, stop.asked]

    assert run(story, lambda text: None)[0] == [False, True]
