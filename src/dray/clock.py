"""The two clocks: wall time for what people read and what expires, monotonic time for durations and leases."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from; decisions take ``now`` as an argument instead of asking."""

    def wall(self) -> float:
        """Return seconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps."""


class SystemClock:
    """The clocks of this machine."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
