"""Decides whether and when a failed step is tried again: pure, the clock and the dice are arguments."""

from dray.errors import DrayError, PieceDamaged
from dray.model.values import Value

FIRST = 1.0
LONGEST = 900.0
GIVE_UP_AFTER = 72 * 3600.0
"""Seconds without progress; the promise is at least a day."""
DAMAGED_AGAIN = 5
"""So often in a row the same bytes arrive damaged by accident; then they are not what their sender thinks."""


class Persistence(Value, frozen=True):
    """How long, in seconds, to go on without progress, and the longest wait between two tries."""

    give_up_after: float = GIVE_UP_AFTER
    longest: float = LONGEST


FOR_DAYS = Persistence()


def decide_retry(
    error: DrayError,
    attempt: int,
    first_failed_at: float,
    now: float,
    *,
    jitter: float = 0.5,
    persistence: Persistence = FOR_DAYS,
) -> float | None:
    """Return the seconds to wait before the next try, or None to give up.

    ``attempt`` counts the failures without progress, from 1; ``first_failed_at`` is when the first of them happened.
    The wait doubles up to the longest and lies between half and all of that (``jitter`` from 0 to 1 says
    where), so that many clients do not come back together. What the other side asked for is waited at least.
    """
    if isinstance(error, PieceDamaged) and attempt >= DAMAGED_AGAIN:
        return None
    if error.retry == "never" or now - first_failed_at >= persistence.give_up_after:
        return None
    longest = min(persistence.longest, FIRST * 2.0 ** min(attempt - 1, 30))
    return max(longest * (0.5 + jitter / 2), error.after or 0.0)
