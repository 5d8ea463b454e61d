"""When a directory is looked through again, and when what failed is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.errors import (
    Busy,
    Denied,
    DrayError,
    Forbidden,
    IntegrityFailure,
    NoSpace,
    PieceDamaged,
    SourceBusy,
    SourceChanged,
    Unreachable,
    error_classes,
)
from dray.model.retry import GIVE_UP_AFTER
from dray.model.schedule import (
    DAMAGES,
    Next,
    after_failure,
    latest_due,
    of_destination,
    pause,
    rescan_after,
)

OURS = [cls for cls in error_classes().values() if cls.__module__ == DrayError.__module__]
ERRORS = st.sampled_from(OURS).map(lambda cls: cls("it failed"))


def test_a_rescan_takes_a_small_share_of_the_time() -> None:
    assert rescan_after(60, 0.1, trusted=True) == 60
    assert rescan_after(60, 3, trusted=True) == 300


def test_where_events_cannot_be_trusted_a_rescan_comes_soon() -> None:
    assert rescan_after(60, 0.1, trusted=False) == 10
    assert rescan_after(5, 0.1, trusted=False) == 5
    assert rescan_after(60, 3, trusted=False) == 30


@given(ERRORS, st.integers(1, 50), st.floats(0, 2 * GIVE_UP_AFTER), st.floats(0, 1))
def test_what_is_tried_again_is_tried_within_what_a_clock_may_say(
    error: DrayError, failures: int, trying: float, luck: float
) -> None:
    after = after_failure(error, failures, 0.0, trying, luck)
    assert after.seconds <= latest_due(0.0)
    endless = isinstance(error, SourceBusy | SourceChanged) or trying < GIVE_UP_AFTER
    assert endless or after.state == "failed"


@pytest.mark.parametrize("failure", [IntegrityFailure("stored bytes differ"), PieceDamaged("a piece differs")])
def test_a_file_that_keeps_arriving_damaged_is_tried_a_few_times(failure: DrayError) -> None:
    states = [after_failure(failure, failures, 0.0, 100.0, 0.5).state for failures in range(1, DAMAGES + 1)]
    assert states == ["queued"] * (DAMAGES - 1) + ["failed"]


def test_what_can_never_succeed_is_not_tried_again() -> None:
    assert after_failure(Forbidden("no access"), 1, 0.0, 0.0, 0.5) == Next("failed")


def test_a_file_that_changed_settles_anew_and_never_fails_of_it() -> None:
    assert after_failure(SourceChanged("it changed"), 99, 0.0, 2 * GIVE_UP_AFTER, 0.5) == Next("settling")


def test_a_file_that_somebody_writes_to_settles_anew_and_one_whose_path_is_taken_waits() -> None:
    written, taken = SourceBusy("a program has it open for writing"), SourceBusy("another source", after=60.0)
    assert after_failure(written, 99, 0.0, 2 * GIVE_UP_AFTER, 0.5) == Next("settling")
    assert after_failure(taken, 1, 0.0, 0.0, 0.5).state == "queued"
    assert of_destination([written, written], 2) is None


def test_a_failure_of_the_destination_is_told_from_that_of_a_file() -> None:
    wide = Unreachable("no answer")
    assert of_destination([wide], 256) is wide
    assert of_destination([NoSpace("full")], 1) is not None
    assert of_destination([Denied("no right")], 1) is not None
    assert of_destination([Forbidden("no access"), Forbidden("no access")], 2) is None
    assert of_destination([], 3) is None


def test_a_batch_that_failed_alike_for_a_time_says_that_the_destination_fails() -> None:
    assert of_destination([Busy("a"), Busy("b")], 2) is not None
    assert of_destination([Busy("a")], 1) is None
    assert of_destination([Busy("a"), Busy("b")], 3) is None
    assert of_destination([SourceChanged("a"), SourceChanged("b")], 2) is None


@given(ERRORS, st.integers(1, 1000), st.floats(0, 1))
def test_a_destination_is_asked_again_soon(error: DrayError, pauses: int, luck: float) -> None:
    assert 0 < pause(error, pauses, luck) <= (8 if isinstance(error, Unreachable) else 30)
