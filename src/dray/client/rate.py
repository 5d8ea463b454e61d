"""A limit in bytes per second that all connections of a client share."""

import threading

from dray.clock import Clock

SLICES = 8
"""How many times a second a limited connection moves bytes."""
SMALLEST = 1024


class Rate:
    """Hands out time slots: each caller says how many bytes it is going to move and is told how long to wait first.

    ``limit`` may be changed at any time; None means unlimited. Safe to use from many threads.
    """

    def __init__(self, clock: Clock, limit: float | None = None) -> None:
        self.limit = limit
        self._clock = clock
        self._free_at = 0.0
        self._lock = threading.Lock()

    def slice(self, wanted: int) -> int:
        """Return how many of ``wanted`` bytes should be moved at once, so that the limit is kept smoothly."""
        limit = self.limit
        return wanted if limit is None else min(wanted, max(SMALLEST, int(limit / SLICES)))

    def take(self, count: int) -> float:
        """Reserve the next ``count`` bytes and return the seconds to wait before they may move."""
        limit = self.limit
        if limit is None:
            return 0.0
        with self._lock:
            now = self._clock.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + count / limit
            return start - now
