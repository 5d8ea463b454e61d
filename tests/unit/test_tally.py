"""Exit codes and sums of the commands that move files."""

import pytest

from dray.cli.exits import INTEGRITY, LIMIT, OK, PARTIAL, PERMANENT, TEMPORARY
from dray.cli.tally import Summary, exit_code, exit_of, sentence


@pytest.mark.parametrize(
    ("summary", "codes", "wait", "expected"),
    [
        (Summary(), set(), True, OK),
        (Summary(moved=3, already=2, filtered=9), set(), True, OK),
        (Summary(failed=2), {INTEGRITY}, True, INTEGRITY),
        (Summary(failed=2), {INTEGRITY, PERMANENT}, True, PARTIAL),
        (Summary(moved=1, failed=1), {TEMPORARY}, True, PARTIAL),
        (Summary(already=1, skipped=1), {PARTIAL}, True, PARTIAL),
        (Summary(skipped=1), {PARTIAL}, True, PARTIAL),
        (Summary(unverified=1), {TEMPORARY}, True, TEMPORARY),
        (Summary(unverified=1), {TEMPORARY}, False, OK),
        (Summary(unverified=1, failed=1), {TEMPORARY, LIMIT}, False, PARTIAL),
        (Summary(planned=1), set(), True, OK),
    ],
)
def test_one_cause_for_everything_is_its_own_code_and_a_mixture_is_partial(
    summary: Summary, codes: set[int], wait: bool, expected: int
) -> None:
    assert exit_code(summary, codes, wait=wait) == expected


def test_a_cause_has_the_exit_code_of_its_error_and_a_skipped_name_makes_the_whole_partial() -> None:
    assert (exit_of("integrity"), exit_of("unverified"), exit_of("link")) == (INTEGRITY, TEMPORARY, PARTIAL)


def test_the_sum_is_said_in_words_by_cause() -> None:
    summary = Summary(moved=1, already=2000, failed=3, skipped=1, bytes=1024, causes={"integrity": 3, "link": 1})
    assert sentence("sent", summary) == (
        "1 file sent and verified, 2,000 there already, 3 failed, 1 skipped; 1.0 KiB (integrity 3, link 1)"
    )
    assert sentence("sent", Summary()) == "nothing to do; 0 B"
