"""Decides whether and when failed work is tried again: a pure function."""

from dray.errors import DrayError

FIRST, LONGEST = 1.0, 30.0
"""Seconds before the first and at most before every later try: what was full or away is noticed soon."""

ENDURANCE = 72 * 3600.0
"""Seconds without success after which work is given up."""


def decide_retry(error: DrayError, attempt: int, first_failed_at: float, now: float, jitter: float) -> float | None:
    """Return the seconds until the next try, or None when there is none.

    ``attempt`` counts tries in a row that failed, this one included; ``jitter`` (0 to 1) keeps those that failed
    together from coming back together. A failure that retrying cannot help is given up at once.
    """
    if error.retry == "never" or now - first_failed_at > ENDURANCE:
        return None
    doubled = FIRST * 2.0 ** min(attempt - 1, 30)
    return max(min(doubled, LONGEST) * (0.75 + jitter / 2), error.after or 0.0)
