"""Sizes, durations and timetables are read as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.config.parse import (
    MINUTES_A_DAY,
    Seconds,
    Size,
    Slot,
    Timetable,
    parse_duration,
    parse_size,
    parse_timetable,
)
from dray.errors import UsageError


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("512", 512),
        ("10M", 10 << 20),
        ("10 mib", 10 << 20),
        ("1GiB", 1 << 30),
        ("1GB", 10**9),
        ("1.5K", 1536),
        ("7B", 7),
        ("2T", 2 << 40),
    ],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1MM", "ten", "1 0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 62))
def test_a_size_is_written_so_that_it_reads_the_same(number: int) -> None:
    assert parse_size(str(Size(number))) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("1d", 86400), ("3", 3), ("5 min", 300), ("0", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1y", "1h 30", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_duration_is_written_so_that_it_reads_the_same(number: int) -> None:
    assert parse_duration(str(Seconds(number))) == number


def test_a_timetable_holds_from_each_time_until_the_next_and_over_midnight() -> None:
    table = parse_timetable("18:00,off 08:00,10M")
    rates = [table.rate_at(minute) for minute in (0, 479, 480, 1079, 1080, 1439)]
    assert rates == [None, None, 10 << 20, 10 << 20, None, None]


@pytest.mark.parametrize(("text", "rate"), [("off", None), ("10M", 10 << 20), ("10M/s", 10 << 20), ("500", 500)])
def test_one_rate_holds_all_day(text: str, rate: int | None) -> None:
    table = parse_timetable(text)
    assert {table.rate_at(minute) for minute in (0, 700, 1439)} == {rate}


@pytest.mark.parametrize("text", ["08:00", "25:00,1M", "08:60,1M", "08:00,10M 8:00,5M", "0", "08:00,fast", "1M 2M"])
def test_what_is_no_timetable_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_timetable(text)


slots = st.builds(Slot, st.integers(0, MINUTES_A_DAY - 1), st.one_of(st.none(), st.integers(1, 1 << 40)))


@given(st.lists(slots, min_size=1, max_size=8, unique_by=lambda slot: slot.minute))
def test_a_timetable_is_written_so_that_it_reads_the_same(given_slots: list[Slot]) -> None:
    table = Timetable(tuple(sorted(given_slots, key=lambda slot: slot.minute)))
    again = parse_timetable(str(table))
    assert [again.rate_at(m) for m in range(0, 1440, 7)] == [table.rate_at(m) for m in range(0, 1440, 7)]
