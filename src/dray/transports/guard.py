"""Who is working on which bytes, within this process."""

import threading
from types import TracebackType

from dray.errors import Busy

WHOLE = 0
"""Stands for all parts of a file where one part is meant."""


class Guard:
    """Knows which parts of which staged files this process is working on; others are told Busy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, set[int]] = {}

    def take(self, name: str, number: int = WHOLE) -> "Grip":
        """Take one part, or the whole file, for as long as the returned grip is held."""
        with self._lock:
            taken = self._taken.setdefault(name, set())
            if number in taken or WHOLE in taken or (number == WHOLE and taken):
                raise Busy("somebody else is working on these bytes", hint="it is tried again")
            taken.add(number)
        return Grip(self, name, number)

    def release(self, name: str, number: int) -> None:
        """Give it back."""
        with self._lock:
            taken = self._taken[name]
            taken.discard(number)
            if not taken:
                del self._taken[name]


class Grip:
    """What was taken from a guard; given back when it is left."""

    __slots__ = ("_guard", "_name", "_number")

    def __init__(self, guard: Guard, name: str, number: int) -> None:
        self._guard = guard
        self._name = name
        self._number = number

    def __enter__(self) -> "Grip":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give it back."""
        self._guard.release(self._name, self._number)
