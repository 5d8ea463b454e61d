"""Connections that are kept and lent out, one user each; a broken one is thrown away."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from dray.errors import Stopped


class Closable(Protocol):
    """What a pool lends."""

    def close(self) -> None:
        """Hang up."""

    def kill(self) -> None:
        """Break off whatever runs, from any thread."""


C = TypeVar("C", bound=Closable)


class Pool(Generic[C]):
    """Lends connections made by ``make``, at most ``most`` at a time. Calls block; any thread may make them."""

    def __init__(self, make: Callable[[], C], most: int) -> None:
        self._make = make
        self._free: list[C] = []
        self._lent: dict[int, C] = {}
        self._places = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def lent(self) -> Iterator[C]:
        """Lend this thread the connection that was used last, or a new one; an exception is its end."""
        with self._places:
            one = self._take()
            try:
                yield one
            except BaseException:
                self._give_back(one, good=False)
                raise
            self._give_back(one, good=True)

    def _take(self) -> C:
        with self._lock:
            if self._closed:
                raise Stopped("the session was closed")
            found = self._free.pop() if self._free else None
        one = found or self._make()
        with self._lock:
            self._lent[threading.get_ident()] = one
        return one

    def _give_back(self, one: C, *, good: bool) -> None:
        with self._lock:
            del self._lent[threading.get_ident()]
            keep = good and not self._closed
            if keep:
                self._free.append(one)
        if not keep:
            one.close()

    def forget(self) -> None:
        """Throw away those that nobody uses: when one connection broke, the others probably did."""
        with self._lock:
            free, self._free = self._free, []
        for one in free:
            one.close()

    def break_off(self, thread: int) -> None:
        """End what a thread is doing with a connection, if it is."""
        with self._lock:
            one = self._lent.get(thread)
        if one is not None:
            one.kill()

    def close(self) -> None:
        """Hang up all, those in use as well."""
        with self._lock:
            self._closed = True
            lent = list(self._lent.values())
        for one in lent:
            one.kill()
        self.forget()
