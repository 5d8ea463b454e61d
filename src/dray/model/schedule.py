"""Pure decisions about when a hot directory is looked through, and when what failed is tried again."""

from collections.abc import Sequence

from dray.errors import (
    Denied,
    DrayError,
    IntegrityFailure,
    NoSpace,
    SourceBusy,
    SourceChanged,
    Temporary,
    TooManyRequests,
    Unheard,
    Unreachable,
)
from dray.model.retry import FOR_DAYS, LONGEST, Persistence, decide_retry
from dray.model.values import Value

RARELY = 100.0
"""A rescan takes at most one part in this of the time."""

OFTEN = 10.0
"""The same where events cannot be trusted, so that looking is all there is."""

UNTOLD = 10.0
"""Most seconds between two rescans there."""

SOON, SELDOM = 4.0, 30.0
"""Most seconds for which a whole destination is left alone: out of reach, or failing otherwise."""

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


def pause(error: DrayError, pauses: int, luck: float) -> float:
    """Return for how many seconds a destination that failed so often in a row is left alone.

    One that is only out of reach is asked often, so that work goes on soon after it is back.
    """
    longest = SOON if isinstance(error, Unreachable | Unheard) else SELDOM
    return decide_retry(error, pauses, 0.0, 0.0, jitter=luck, persistence=Persistence(1.0, longest)) or SELDOM


class Next(Value, frozen=True):
    """What becomes of a file that failed: ``settling`` anew, ``queued`` after ``seconds``, or ``failed`` for good."""

    state: str
    seconds: float = 0.0


def after_failure(
    error: DrayError, failures: int, tried: float, now: float, luck: float, persistence: Persistence = FOR_DAYS
) -> Next:
    """Decide about a file after so many failures in a row, the first of them at ``tried``."""
    if _of_source(error):
        return Next("settling")
    damaged = isinstance(error, IntegrityFailure) and failures < DAMAGES
    cause = Temporary(error.message, after=error.after) if damaged else error
    seconds = decide_retry(cause, failures, tried, now, jitter=luck, persistence=persistence)
    return Next("failed") if seconds is None else Next("queued", seconds)


def of_destination(errors: Sequence[DrayError], batch: int) -> DrayError | None:
    """Return the failure that is about the destination and not about a file, or None.

    A whole batch of several files that failed alike says so as well.
    """
    named = next((error for error in errors if isinstance(error, OF_DESTINATION)), None)
    kinds = {type(error) for error in errors}
    alike = len(errors) == batch > 1 and len(kinds) == 1 and errors[0].retry == "later"
    return named or (errors[0] if alike and not _of_source(errors[0]) else None)


def _of_source(error: DrayError) -> bool:
    """Say whether a file failed because somebody changes it; a place that is busy with its path says until when."""
    return isinstance(error, SourceChanged) or (isinstance(error, SourceBusy) and error.after is None)
