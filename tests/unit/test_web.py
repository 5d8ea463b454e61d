"""What the web pages decide without a server: sessions, words, verdicts, where one is led."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.model.views import CopyView, Event, FileView, QueueStatus, UploadView
from dray.web import verdicts, words
from dray.web.app import inside
from dray.web.pages import crumbs, gathered
from dray.web.sessions import LIFE, Sessions

SESSIONS = Sessions(b"k" * 32)
IDLE = QueueStatus(waiting=0, running=0, dead=0, oldest=None, next_try=None, reason="")


# Sessions


def test_a_session_is_read_from_its_cookie_until_its_time_is_up() -> None:
    session, cookie = SESSIONS.begin(7, 100.0)
    assert SESSIONS.read(cookie, 100.0 + LIFE - 1) == session
    assert SESSIONS.read(cookie, 100.0 + LIFE) is None
    assert session.token == 7


def test_no_two_sessions_are_alike() -> None:
    assert SESSIONS.begin(7, 100.0)[1] != SESSIONS.begin(7, 100.0)[1]


def test_another_servers_cookie_is_nobodys() -> None:
    _, cookie = SESSIONS.begin(7, 100.0)
    assert Sessions(b"K" * 32).read(cookie, 100.0) is None
    assert Sessions(b"k" * 32).read(cookie, 100.0) is not None


def test_an_ended_session_stays_ended_and_others_live() -> None:
    sessions = Sessions(b"k" * 32)
    first, cookie = sessions.begin(7, 100.0)
    _, other = sessions.begin(7, 100.0)
    sessions.end(first, 100.0)
    assert sessions.read(cookie, 101.0) is None
    assert sessions.read(other, 101.0) is not None


def test_what_a_form_carries_is_not_in_the_cookie() -> None:
    session, cookie = SESSIONS.begin(7, 100.0)
    assert SESSIONS.form(session) not in cookie
    assert SESSIONS.form(session) != SESSIONS.form(SESSIONS.begin(7, 100.0)[0])


@given(st.text())
def test_no_made_up_cookie_is_read(cookie: str) -> None:
    assert SESSIONS.read(cookie, 0.0) is None


# Where one is led


@pytest.mark.parametrize("page", ["/", "/files?dataset=a&prefix=b%20c", "/file/1", "/find?q=http://x"])
def test_a_page_of_ours_is_gone_to(page: str) -> None:
    assert inside(page) == page


@given(st.text())
def test_nobody_is_led_elsewhere(page: str) -> None:
    led = inside(page)
    assert led.startswith("/")
    assert not led.startswith(("//", "/\\"))
    assert led.isprintable()


# Words


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 20, "1.0 MiB"), (123_456_789, "118 MiB")]
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (1, "1 second ago"),
        (59, "59 seconds ago"),
        (3600, "1 hour ago"),
        (-90, "in 1 minute"),
        (1e8, "3 years ago"),
    ],
)
def test_times_are_told_from_now(seconds: float, text: str) -> None:
    assert words.ago(1e9 - seconds, 1e9) == text


@given(st.floats(0, 1e10), st.floats(0, 1e10))
def test_every_time_can_be_told(at: float, now: float) -> None:
    assert words.ago(at, now)
    assert words.iso(at).endswith("Z")


def test_a_word_that_is_new_is_shown_harmlessly() -> None:
    assert words.state("odd\u202e") == ("odd\\u202e", "")
    assert words.event("copy.moved_\n") == ("copy moved \\n", "")


# Verdicts


def upload(state: str, reason: str = "", next_try: float | None = None) -> UploadView:
    return UploadView(
        upload=1,
        file=1,
        dataset="d",
        path="p",
        version_number=1,
        size=1,
        state=state,  # type: ignore[arg-type]
        reason=reason,
        created=0,
        updated=0,
        next_try=next_try,
    )


def file(state: str, *copies: CopyView) -> FileView:
    return FileView(
        file=1,
        dataset="d",
        path="p",
        version_number=1,
        size=1,
        checksum=None,
        state=state,
        mtime_ns=None,
        created=0,
        published=None,
        current=True,
        copies=list(copies),
    )


COPY = CopyView(store="store", state="verified", level="durable", verified_at=1.0, verified_by="x", tag="t")


def test_a_quiet_server_says_that_all_is_verified() -> None:
    assert verdicts.of_server({"accepted": 9}, IDLE, []).kind == "good"


def test_what_is_given_up_goes_before_what_moves() -> None:
    dead = QueueStatus(waiting=0, running=0, dead=2, oldest=None, next_try=None, reason="")
    verdict = verdicts.of_server({"pending": 1}, dead, [])
    assert (verdict.text, verdict.kind) == ("2 jobs given up", "bad")


def test_what_is_held_up_is_told_with_its_reason() -> None:
    verdict = verdicts.of_server({"uploaded": 1}, IDLE, [upload("uploaded", "disk full", 5.0)])
    assert verdict.text == "1 file held up"
    assert "disk full" in verdict.detail


def test_what_moves_is_not_called_done() -> None:
    assert verdicts.of_server({"pending": 2, "uploaded": 1}, IDLE, [upload("pending")]).text == "3 files on the way"


def test_only_a_verified_file_is_called_verified() -> None:
    assert verdicts.of_file(file("verified", COPY), [upload("accepted")]).kind == "good"
    for state in ("moving", "failed", "damaged", "removed"):
        verdict = verdicts.of_file(file(state), [upload("rejected", "other bytes")])
        assert verdict.kind != "good"
        assert verdict.text != "Verified"


def test_a_file_that_did_not_come_says_why() -> None:
    assert verdicts.of_file(file("failed"), [upload("rejected", "other bytes")]).detail == "other bytes"


# Rows


def event(number: int, kind: str = "upload.accepted", **more: str) -> Event:
    data: dict[str, str | int | float | bool | None] = dict(more)
    return Event(id=f"0-{number}", at=float(number), kind=kind, dataset="d", path=f"p{number}", actor="w", data=data)


def test_results_of_one_kind_are_told_in_one_line_and_steps_in_none() -> None:
    events = [event(9), event(8), event(7, "upload.uploaded"), event(6), event(5, "dataset.created"), event(4)]
    assert [(row.count, row.first.id, row.last.id) for row in gathered(events, 10)] == [
        (3, "0-6", "0-9"),
        (1, "0-5", "0-5"),
        (1, "0-4", "0-4"),
    ]


def test_what_has_a_reason_is_told_alone() -> None:
    events = [event(2, "upload.rejected", reason="a"), event(1, "upload.rejected", reason="b")]
    assert [row.count for row in gathered(events, 10)] == [1, 1]


def test_a_path_is_a_trail_of_folders() -> None:
    assert [(one.name, one.prefix) for one in crumbs("d", "a/b c")] == [("d", ""), ("a", "a"), ("b c", "a/b c")]
    assert [(one.name, one.prefix) for one in crumbs("d", "")] == [("d", "")]
