"""Many requests on the way at once, each answer in its place."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from dray.errors import DrayError

T = TypeVar("T")
R = TypeVar("R")


class Crowd:
    """Lets at most so many be on their way at the same time, whoever asks."""

    def __init__(self, most: int) -> None:
        self._places = asyncio.Semaphore(most)

    async def each(self, items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R | DrayError]:
        """Do the work for each item; a failed one is an error in its place. Work must not ask for a place itself."""

        async def one(item: T) -> R | DrayError:
            async with self._places:
                try:
                    return await work(item)
                except DrayError as error:
                    return error

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
        return [task.result() for task in tasks]
