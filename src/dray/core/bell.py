"""A bell: wakes those in this process who wait for something that was just committed."""

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType

JOBS, VERDICTS, EVENTS = "jobs", "verdicts", "events"
"""What is rung for: queued work, uploads that got a verdict (with their ids), new events."""


class Ear:
    """Hears one topic from the moment it was made, so that nothing is missed between a look and a wait.

    Use it in the event loop that made it. ``heard`` gathers the ids that were rung.
    """

    def __init__(self, bell: "Bell", topic: str) -> None:
        self._bell = bell
        self._topic = topic
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self.heard: set[int] = set()

    def __enter__(self) -> "Ear":
        self._bell.attach(self._topic, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bell.detach(self._topic, self)

    async def wait(self, seconds: float) -> bool:
        """Return True as soon as the topic was rung since the last wait, False when ``seconds`` have passed."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def ring(self, ids: Iterable[int]) -> None:
        """Wake the waiter from whatever thread this is called in."""
        try:
            self._loop.call_soon_threadsafe(self._strike, ids)
        except RuntimeError:  # the loop has closed: nobody waits any more
            self._bell.detach(self._topic, self)

    def _strike(self, ids: Iterable[int]) -> None:
        self.heard.update(ids)
        self._event.set()


class Bell:
    """Rings topics; thread-safe. Other processes do not hear it: whoever waits also looks once a second."""

    def __init__(self) -> None:
        self._ears: dict[str, list[Ear]] = {}
        self._lock = threading.Lock()

    def ring(self, topic: str, ids: Iterable[int] = ()) -> None:
        """Wake all who listen to ``topic``."""
        told = tuple(ids)
        for ear in self._listening(topic):
            ear.ring(told)

    def listen(self, topic: str) -> Ear:
        """Return an ear for ``topic``, to be entered before the first look."""
        return Ear(self, topic)

    def attach(self, topic: str, ear: Ear) -> None:
        with self._lock:
            self._ears.setdefault(topic, []).append(ear)

    def detach(self, topic: str, ear: Ear) -> None:
        with self._lock:
            ears = self._ears.get(topic, [])
            if ear in ears:
                ears.remove(ear)

    def _listening(self, topic: str) -> list[Ear]:
        with self._lock:
            return list(self._ears.get(topic, ()))
