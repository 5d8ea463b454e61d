"""A file counts as finished exactly when its end was seen or it has rested."""

from hypothesis import given
from hypothesis import strategies as st

from dray.model.settle import CLOSING, Policy, Sight, Wait, marked_by, settled

SIGHTS = st.builds(
    Sight,
    notice=st.sampled_from(["renamed", "closed", "found"]),
    size=st.integers(0, 3),
    quiet=st.floats(0, 10),
    writer=st.sampled_from([None, False, True]),
    done=st.booleans(),
)
POLICIES = st.builds(
    Policy,
    settle=st.floats(0, 5),
    closed_at_once=st.booleans(),
    done_file=st.sampled_from(["", "{name}.done", "READY"]),
)


@given(SIGHTS, POLICIES)
def test_a_file_that_is_open_for_writing_is_never_finished(sight: Sight, policy: Policy) -> None:
    if sight.writer:
        assert settled(sight, policy) is not None


@given(SIGHTS, POLICIES)
def test_a_file_without_its_done_file_is_never_finished(sight: Sight, policy: Policy) -> None:
    if policy.done_file and not sight.done:
        assert settled(sight, policy) == Wait(None, f"waits for its done-file {policy.done_file}")


@given(SIGHTS, POLICIES)
def test_a_file_that_was_only_found_is_finished_no_earlier_than_it_has_rested(sight: Sight, policy: Policy) -> None:
    if sight.notice == "found" and not policy.done_file and settled(sight, policy) is None:
        assert sight.quiet >= policy.settle


@given(SIGHTS, POLICIES)
def test_every_wait_has_a_reason_and_ends_when_the_file_rests(sight: Sight, policy: Policy) -> None:
    wait = settled(sight, policy)
    if wait is not None:
        assert wait.reason
        assert wait.seconds is None or wait.seconds > 0
    rested = Sight(sight.notice, sight.size, policy.settle, writer=False, done=True)
    assert settled(rested, policy) is None


def test_a_file_that_was_renamed_in_or_closed_is_finished_at_once() -> None:
    assert settled(Sight("renamed", 5, 0.0), Policy()) is None
    assert settled(Sight("renamed", 0, 0.0), Policy()) is None
    assert settled(Sight("closed", 5, 0.0, writer=False), Policy()) is None


def test_a_closed_file_must_rest_where_files_are_opened_again() -> None:
    assert settled(Sight("closed", 5, 0.5), Policy(closed_at_once=False)) == Wait(1.5, "changed less than 2 s ago")


def test_an_empty_file_that_was_closed_must_rest() -> None:
    assert settled(Sight("closed", 0, 0.0), Policy()) is not None
    assert settled(Sight("closed", 0, 2.0), Policy()) is None


def test_the_one_who_just_closed_a_file_counts_as_a_writer_only_for_a_moment() -> None:
    assert settled(Sight("closed", 5, 0.0, writer=True), Policy()) == Wait(CLOSING, "is open for writing")
    assert settled(Sight("closed", 5, 0.2, writer=True), Policy()) == Wait(2.0, "is open for writing")


def test_a_done_file_names_the_file_or_folder_that_it_finishes() -> None:
    assert marked_by("{name}.done", "a.h5.done") == "a.h5"
    assert marked_by("ok_{name}", "ok_a") == "a"
    assert marked_by("RUN_COMPLETE", "RUN_COMPLETE") == ""
    assert [marked_by("{name}.done", name) for name in ("a.h5", ".done")] == [None, None]
    assert [marked_by(rule, "x") for rule in ("", "RUN_COMPLETE")] == [None, None]
