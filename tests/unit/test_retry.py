"""When a failed step is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray import errors
from dray.model.retry import DAMAGED_AGAIN, LONGEST, decide_retry

DAY = 86400.0


@given(st.integers(1, 1000), st.floats(0, 1))
def test_the_wait_is_positive_and_never_longer_than_a_quarter_of_an_hour(attempt: int, jitter: float) -> None:
    delay = decide_retry(errors.Unreachable("x"), attempt, 0.0, 1.0, jitter=jitter)
    assert delay is not None
    assert 0 < delay <= LONGEST


def test_the_wait_doubles() -> None:
    waits = [decide_retry(errors.Unreachable("x"), attempt, 0.0, 0.0, jitter=1.0) for attempt in range(1, 6)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_jitter_spreads_it_over_the_upper_half() -> None:
    assert decide_retry(errors.Unreachable("x"), 3, 0.0, 0.0, jitter=0.0) == 2.0


def test_what_the_other_side_asks_for_is_waited() -> None:
    assert decide_retry(errors.TooManyRequests("x", after=1234.0), 1, 0.0, 0.0) == 1234.0


@pytest.mark.parametrize("error", [errors.Conflict("x"), errors.IntegrityFailure("x"), errors.Denied("x")])
def test_what_cannot_succeed_is_not_tried_again(error: errors.DrayError) -> None:
    assert decide_retry(error, 1, 0.0, 0.0) is None


def test_it_goes_on_for_a_day_and_ends_after_three_without_progress() -> None:
    error = errors.Unreachable("x")
    assert decide_retry(error, 500, 0.0, DAY) is not None
    assert decide_retry(error, 500, 0.0, 3 * DAY - 1) is not None
    assert decide_retry(error, 500, 0.0, 3 * DAY) is None


def test_bytes_that_keep_arriving_damaged_are_given_up() -> None:
    error = errors.PieceDamaged("x")
    assert decide_retry(error, DAMAGED_AGAIN - 1, 0.0, 0.0) is not None
    assert decide_retry(error, DAMAGED_AGAIN, 0.0, 0.0) is None
