"""Pure decisions about when a hot directory is looked through and when a file is tried."""

RARELY = 100.0
"""A rescan takes at most one part in this of the time."""

OFTEN = 10.0
"""The same where events cannot be trusted, so that looking is all there is."""


def rescan_after(every: float, duration: float, trusted: bool) -> float:
    """Return the seconds from the end of one rescan to the next; ``duration`` is what the last one took."""
    return max(every, duration * (RARELY if trusted else OFTEN))


def latest_due(now: float, longest: float) -> float:
    """Return the wall time beyond which nothing may be scheduled; what is, was written by a clock since set back."""
    return now + 2 * longest
