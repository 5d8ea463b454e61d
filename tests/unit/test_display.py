"""The same values as text, table, document and events; hostile names stay on one line."""

import io
import json
from typing import Any

import msgspec
import pytest

from dray.cli import format
from dray.cli.choices import Output
from dray.cli.display import PAGE, Column, Display, Look, width
from dray.errors import Busy

HOSTILE = [
    "new\nline",
    "carriage\rreturn",
    "\x1b]0;title\x07",
    "\x1b[2Jcleared",
    "right\u202eto left",
    "zero\u200bwidth",
    "half\udcffbyte",
    "null\0",
    "tab\there",
]


class Thing(msgspec.Struct, frozen=True):
    name: str
    size: int


class FixedClock:
    def wall(self) -> float:
        return 1_000_000.0004

    def monotonic(self) -> float:
        return 0.0


COLUMNS = (Column("name", "name"), Column("size", lambda thing: format.size(thing.size), right=True))


def display(output: Output = "text", quiet: bool = False) -> tuple[Display, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Display(output, out, err, Look(quiet=quiet), FixedClock()), out, err


def shown(output: Output, things: list[Thing]) -> str:
    made, out, _ = display(output)
    assert made.rows("thing", things, COLUMNS) == len(things)
    return out.getvalue()


THINGS = [Thing("a", 1), Thing("longer name", 5 << 20)]


def test_a_table_lines_up() -> None:
    assert shown("text", THINGS) == "name            size\na                1 B\nlonger name  5.0 MiB\n"


def test_wide_letters_take_two_columns() -> None:
    lines = shown("text", [Thing("測定", 1), Thing("abcd", 1)]).splitlines()
    assert {width(line) for line in lines} == {10}


def test_a_document_is_one_json_document_with_a_version() -> None:
    document = json.loads(shown("json", THINGS))
    assert document == {
        "v": 1,
        "kind": "thing",
        "items": [{"name": "a", "size": 1}, {"name": "longer name", "size": 5 << 20}],
    }
    assert json.loads(shown("json", [])) == {"v": 1, "kind": "thing", "items": []}


def test_events_are_a_line_each_with_version_and_time() -> None:
    events = [json.loads(line) for line in shown("jsonl", THINGS).splitlines()]
    assert events[0] == {"v": 1, "t": 1_000_000.0, "event": "thing", "name": "a", "size": 1}
    assert len(events) == 2


def test_a_summary_ends_document_and_events() -> None:
    results = {}
    for output in ("json", "jsonl"):
        made, out, _ = display(output)
        with made.listing("thing", COLUMNS) as listing:
            listing.add(THINGS[0])
            listing.summary(Thing("all", 9))
        results[output] = out.getvalue()
    assert json.loads(results["json"])["data"] == {"name": "all", "size": 9}
    assert json.loads(results["jsonl"].splitlines()[-1])["event"] == "thing.summary"


def cut_short(made: Display) -> None:
    with made.listing("thing", COLUMNS) as listing:
        listing.add(THINGS[0])
        raise Busy("held")


def test_a_document_that_was_cut_short_is_valid_and_says_so() -> None:
    made, out, _ = display("json")
    with pytest.raises(Busy):
        cut_short(made)
    assert json.loads(out.getvalue())["incomplete"] is True


def test_a_document_that_never_began_is_left_out() -> None:
    made, out, _ = display("json")
    with pytest.raises(Busy), made.listing("thing", COLUMNS):
        raise Busy("held")
    assert out.getvalue() == ""


def test_rows_cut_short_are_shown() -> None:
    made, out, _ = display()
    with pytest.raises(Busy):
        cut_short(made)
    assert "a" in out.getvalue()


def test_a_long_table_is_shown_before_it_ends() -> None:
    made, out, _ = display()
    with made.listing("thing", COLUMNS) as listing:
        for number in range(PAGE):
            listing.add(Thing(str(number), 1))
        assert out.getvalue().count("\n") == PAGE + 1
        listing.add(Thing("last", 1))
        assert out.getvalue().count("\n") == PAGE + 2


def test_columns_of_known_width_are_shown_at_once() -> None:
    made, out, _ = display()
    with made.listing("thing", (Column("name", "name", width=6), COLUMNS[1])) as listing:
        listing.add(THINGS[0])
        assert out.getvalue().splitlines()[1].startswith("a     ")


def test_nothing_is_said_in_words_on_stderr_alone() -> None:
    made, out, err = display()
    made.rows("thing", [], COLUMNS, empty="there is nothing")
    assert (out.getvalue(), err.getvalue()) == ("", "there is nothing\n")


def test_quiet_leaves_warnings() -> None:
    made, _, err = display(quiet=True)
    made.note("said")
    made.warn("must be heard")
    assert err.getvalue() == "dray: must be heard\n"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_a_hostile_name_stays_on_one_line_and_moves_no_cursor(name: str, output: Output) -> None:
    text = shown(output, [Thing(name, 1)])
    assert text.count("\n") == {"text": 2, "json": 2, "jsonl": 1}[output]
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_survives_json(name: str) -> None:
    assert json.loads(shown("json", [Thing(name, 1)]))["items"][0]["name"] == name


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_words_stays_on_one_line(name: str) -> None:
    made, out, err = display()
    made.text(name)
    made.note(name)
    made.warn(name)
    made.record("thing", Thing(name, 1), COLUMNS)
    for text in (out.getvalue(), err.getvalue()):
        assert all(line.isprintable() for line in text.split("\n"))
    assert (out.getvalue().count("\n"), err.getvalue().count("\n")) == (3, 2)


def test_a_record_is_a_line_a_field_or_one_document() -> None:
    made, out, _ = display()
    made.record("thing", THINGS[0], COLUMNS)
    assert out.getvalue() == "name  a\nsize  1 B\n"
    made, out, _ = display("json")
    made.record("thing", THINGS[0], COLUMNS)
    assert json.loads(out.getvalue()) == {"v": 1, "kind": "thing", "data": {"name": "a", "size": 1}}


def test_an_error_inside_a_value_has_a_json_form() -> None:
    class Failed(msgspec.Struct):
        error: Any

    made, out, _ = display("jsonl")
    made.event("file", Failed(Busy("held", item="x")))
    assert json.loads(out.getvalue())["error"] == {"code": "busy", "message": "held", "item": "x", "hint": ""}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (123 << 20, "123 MiB")],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert format.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0042, "4 ms"),
        (0.25, "250 ms"),
        (1.25, "1.2 s"),
        (3, "3 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (90000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert format.duration(seconds) == text


def test_times_are_near_or_far() -> None:
    assert (format.ago(90, 100), format.ago(160, 100), format.ago(None, 1)) == ("10 s ago", "in 1 min", "-")
    assert format.when(None) == "-"
    assert len(format.when(0)) == len("1970-01-01 00:00:00")


@pytest.mark.parametrize(("number", "text"), [(1, "1 file"), (0, "0 files"), (2000, "2,000 files")])
def test_counts_agree_with_their_noun(number: int, text: str) -> None:
    assert format.count(number, "file") == text
