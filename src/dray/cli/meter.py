"""Counts what moved and says how fast and how long still. Pure: the time comes in."""

import math
from collections import Counter

import msgspec

SPAN = 15.0
"""Seconds over which the rate is averaged: long enough to be readable, short enough to notice a stall."""


class Reading(msgspec.Struct, frozen=True):
    """What a meter says at one moment; ``rate`` in bytes a second, ``left`` in seconds, None while unknown."""

    title: str
    phases: dict[str, int]
    files: int
    files_total: int
    failed: int
    bytes: int
    bytes_total: int
    rate: float
    left: float | None
    waiting: str


class Meter:
    """Adds up a move. Bytes count when they were receipted, so that it never shows more than has arrived.

    The rate is that of the line, where that is counted, so that it shows life while a large part is on its way.
    """

    def __init__(self, title: str, now: float) -> None:
        self.title = title
        self.files = self.files_total = self.failed = self.bytes = self.bytes_total = 0
        self.wire = 0
        self.waiting = ""
        self.live: dict[str, str] = {}
        self.moved_of: Counter[str] = Counter()
        self._rate = 0.0
        self._seen_at, self._seen_bytes, self._began = now, 0, now

    def expect(self, files: int, nbytes: int) -> None:
        """Add to what is to be done."""
        self.files_total += files
        self.bytes_total += nbytes

    def phase(self, path: str, phase: str) -> None:
        """Note what is done with a file."""
        self.live[path] = phase

    def moved(self, path: str, nbytes: int) -> None:
        """Add receipted bytes."""
        self.bytes += nbytes
        self.moved_of[path] += nbytes
        self.waiting = ""

    def wired(self, nbytes: int) -> None:
        """Add bytes that went over the line: where they are counted they make the rate, since receipts come late."""
        self.wire += nbytes
        self.waiting = ""

    def ended(self, path: str, failed: bool, size: int) -> None:
        """Note that a file is done; one that did not have to move counts with its whole size."""
        self.live.pop(path, None)
        moved = self.moved_of.pop(path, 0)
        self.files += 1
        self.failed += failed
        self.bytes += 0 if failed else max(size - moved, 0)

    def read(self, now: float) -> Reading:
        """Return the state at ``now`` (monotonic seconds) and remember it for the rate."""
        self._sample(now)
        return Reading(
            title=self.title,
            phases=dict(Counter(list(self.live.values()))),
            files=self.files,
            files_total=max(self.files_total, self.files),
            failed=self.failed,
            bytes=self.bytes,
            bytes_total=max(self.bytes_total, self.bytes),
            rate=self._rate,
            left=self._left(),
            waiting=self.waiting,
        )

    def _left(self) -> float | None:
        # Receipts of large parts come late and together: a guess from less than one part in a hundred is none.
        missing = self.bytes_total - self.bytes
        if missing <= 0 or self._rate < 1 or self.bytes * 100 < self.bytes_total:
            return None
        return missing / self._rate

    def _sample(self, now: float) -> None:
        span = now - self._seen_at
        if span <= 0:
            return
        newest = ((self.wire or self.bytes) - self._seen_bytes) / span
        # Weighed as a plain mean until SPAN has passed, so that the first figures are not dragged down by zero.
        weight = max(1 - math.exp(-span / SPAN), span / max(now - self._began, span))
        self._rate += weight * (newest - self._rate)
        self._seen_at, self._seen_bytes = now, self.wire or self.bytes
