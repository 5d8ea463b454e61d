"""What `dray watch` says at the end, and the exit code that goes with it."""

import io
import json

import pytest

from dray.agent.agent import Summary
from dray.agent.journal import Key, Tally
from dray.cli.context import App
from dray.cli.hot import Foreground
from dray.errors import Denied, DrayError, IntegrityFailure, Refused, Unreachable
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Outcome


def app(*options: str) -> App:
    made = App({}, io.StringIO(), io.StringIO())
    for option in options:
        made.choices.set(option, True)
    return made


def outcome(error: DrayError | None = None) -> Outcome:
    kind = "moved" if error is None else "failed"
    return Outcome(RemotePath("a.dat"), kind, 5, Checksum("sha256", "0" * 64), error=error)


@pytest.mark.parametrize(
    ("states", "outcomes", "trouble", "code"),
    [
        ([], [], None, 0),
        (["delivered", "skipped", "gone"], [None], None, 0),
        (["delivered", "refused"], [None], None, 11),
        (["delivered", "refused"], [], None, 11),
        (["settling"], [], None, 11),
        (["queued"], [], Unreachable("no answer"), 5),
        (["delivered", "queued"], [None], Unreachable("no answer"), 11),
        (["queued"], [], Denied("no right"), 4),
        (["queued"], [], None, 5),
        (["failed"], [Refused("not wanted")], None, 2),
        (["delivered", "failed"], [None, Refused("not wanted")], None, 11),
        (["delivered", "failed"], [None, IntegrityFailure("damaged")], None, 6),
        (["failed", "queued"], [IntegrityFailure("damaged")], Unreachable("no answer"), 6),
    ],
)
def test_the_exit_code_says_whether_everything_arrived(
    states: list[str], outcomes: list[DrayError | None], trouble: DrayError | None, code: int
) -> None:
    tallies = tuple(Tally(state, "because", 2, 10, Key("run", "a.dat")) for state in states)
    with Foreground(app(), "watch") as told:
        told.expect(len(outcomes), 5)
        for error in outcomes:
            told.outcome(outcome(error))
        assert told.tell(Summary(tallies, trouble)) == code


def test_the_end_is_one_document_with_every_state_and_reason() -> None:
    made = app("json")
    with Foreground(made, "watch") as told:
        told.outcome(outcome())
        told.tell(
            Summary((Tally("refused", "a link", 1, 3, Key("run", "l")), Tally("delivered", "", 1, 5, Key("", "a"))))
        )
    assert isinstance(made.out, io.StringIO)
    shown = json.loads(made.out.getvalue())
    assert shown["items"][0] == {"state": "refused", "reason": "a link", "files": 1, "bytes": 3, "example": "run/l"}
    assert shown["data"] == {"arrived": 1, "bytes": 5, "failed": 0, "attention": 1}


def test_a_reason_to_wait_is_told_once_until_something_moves() -> None:
    made = app()
    with Foreground(made, "watch") as told:
        for seconds in (1, 2, 4):
            told.waiting(f"no answer after {seconds} ms; next try in {seconds} s")
        told.moved(RemotePath("a.dat"), 5)
        told.waiting("no answer after 1 ms; next try in 1 s")
    assert isinstance(made.err, io.StringIO)
    assert made.err.getvalue().count("no answer") == 2


def test_a_file_that_failed_is_told_at_once_and_a_burst_when_it_ends() -> None:
    made = app()
    with Foreground(made, "watch") as told:
        told.expect(2, 10)
        told.outcome(outcome(Refused("not wanted", item="a.dat")))
        assert isinstance(made.err, io.StringIO)
        assert "a.dat: not wanted" in made.err.getvalue()
        told.outcome(outcome())
        told.idle()
        assert "1 file sent and verified" in made.err.getvalue()
