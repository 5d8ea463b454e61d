"""Pure decisions about when a hot directory is looked through, and when what failed is tried again."""

from collections.abc import Sequence

from dray.errors import Denied, DrayError, IntegrityFailure, NoSpace, SourceChanged, TooManyRequests, Unreachable
from dray.model.values import Value

RARELY = 100.0
"""A rescan takes at most one part in this of the time."""

OFTEN = 10.0
"""The same where events cannot be trusted, so that looking is all there is."""

UNTOLD = 10.0
"""Most seconds between two rescans there."""

FIRST, LONGEST = 1.0, 600.0
"""Seconds before the first and before every later try."""

SOON, SELDOM = 8.0, 30.0
"""Most seconds for which a whole destination is left alone: out of reach, or failing otherwise."""

ENDURANCE = 72 * 3600.0
"""Seconds for which a file is tried without success before it counts as failed."""

DAMAGES = 5
"""Tries of a file whose stored bytes keep differing from those that were sent."""

OF_DESTINATION = (Unreachable, Denied, NoSpace, TooManyRequests)
"""Failures that say nothing about the file at hand: every other one would meet them, too."""


def rescan_after(every: float, duration: float, trusted: bool) -> float:
    """Return the seconds from the end of one rescan to the next; ``duration`` is what the last one took."""
    return max(every, duration * RARELY) if trusted else max(min(every, UNTOLD), duration * OFTEN)


def latest_due(now: float) -> float:
    """Return the wall time beyond which nothing may be scheduled; what is, was written by a clock since set back."""
    return now + 2 * LONGEST


def spacing(failures: int, luck: float, after: float | None = None) -> float:
    """Return the seconds to wait after so many failures in a row, at least what the other side asked for.

    ``luck`` from 0 to 1 spreads those who failed together.
    """
    plain = min(LONGEST, FIRST * 2.0 ** min(failures - 1, 20))
    return max(plain * (0.5 + luck / 2), after or 0.0)


def pause(error: DrayError, pauses: int, luck: float) -> float:
    """Return for how many seconds a destination that failed so often in a row is left alone.

    One that is only out of reach is asked often, so that work goes on soon after it is back.
    """
    return max(min(spacing(pauses, luck), SOON if isinstance(error, Unreachable) else SELDOM), error.after or 0.0)


class Next(Value, frozen=True):
    """What becomes of a file that failed: ``settling`` anew, ``queued`` after ``seconds``, or ``failed`` for good."""

    state: str
    seconds: float = 0.0


def after_failure(error: DrayError, failures: int, trying: float, luck: float) -> Next:
    """Decide about a file after so many failures in a row, in ``trying`` seconds since the first of them."""
    if isinstance(error, SourceChanged):
        return Next("settling")
    damaged = isinstance(error, IntegrityFailure) and failures < DAMAGES
    if damaged or (error.retry == "later" and trying < ENDURANCE):
        return Next("queued", spacing(failures, luck, error.after))
    return Next("failed")


def of_destination(errors: Sequence[DrayError], batch: int) -> DrayError | None:
    """Return the failure that is about the destination and not about a file, or None.

    A whole batch of several files that failed alike says so as well.
    """
    named = next((error for error in errors if isinstance(error, OF_DESTINATION)), None)
    kinds = {type(error) for error in errors}
    alike = len(errors) == batch > 1 and len(kinds) == 1 and errors[0].retry == "later"
    return named or (errors[0] if alike and not isinstance(errors[0], SourceChanged) else None)
