"""Progress counts what was receipted, is never silent, and says why nothing moves."""

import io
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.cli.bars import Bars
from dray.cli.choices import Output
from dray.cli.display import Display, Look
from dray.cli.gauge import Progress, sentence
from dray.cli.meter import Meter
from dray.cli.progress import Events, Lines, Silent, choose
from dray.errors import Busy
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Outcome
from dray.moving.report import Report

PATH = RemotePath("scan 1/ü.h5")
HOSTILE = RemotePath("a\nb\x1b[2J")


class HandClock:
    """A clock that is moved by hand."""

    now = 0.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Ears(io.StringIO):
    """Text that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Semaphore(0)

    def write(self, text: str) -> int:
        count = super().write(text)
        if text.startswith("upload"):
            self.heard.release()
        return count


def made(output: Output = "text", *, quiet: bool = False, moves: bool = False) -> tuple[Progress, Display, HandClock]:
    clock = HandClock()
    display = Display(output, io.StringIO(), io.StringIO(), Look(quiet=quiet, moves=moves), clock)
    return choose("upload", display, clock), display, clock


def test_the_form_suits_where_the_output_goes() -> None:
    assert type(made()[0]) is Lines
    assert type(made(moves=True)[0]) is Bars
    assert type(made("jsonl")[0]) is Events
    assert type(made("jsonl", moves=True)[0]) is Events
    assert type(made("json")[0]) is Lines
    assert type(made(quiet=True, moves=True)[0]) is Silent


def test_every_form_is_a_report() -> None:
    forms = [made()[0], made(moves=True)[0], made("jsonl")[0], made(quiet=True)[0]]
    reports: list[Report] = [*forms]
    for report in reports:
        report.phase(PATH, "send")
        report.moved(PATH, 5)
        report.outcome(Outcome(PATH, "moved", 5))
    readings = [form.reading() for form in forms]
    assert [(one.files, one.bytes, one.phases) for one in readings] == [(1, 5, {})] * len(forms)


def test_the_sentence_names_amounts_rate_time_left_and_phases() -> None:
    progress, _, clock = made()
    progress.expect(4, 400 << 20)
    progress.phase(PATH, "send")
    progress.phase(RemotePath("b"), "verify")
    progress.phase(RemotePath("c"), "send")
    progress.moved(PATH, 100 << 20)
    clock.now = 10.0
    text = sentence(progress.reading())
    assert text == ("upload: 25 %, 100 MiB of 400 MiB, 0 of 4 files, 10.0 MiB/s, 30 s left, sending 2, verifying 1")


def test_a_wait_shows_its_reason_until_bytes_move() -> None:
    progress, _, _ = made()
    progress.waiting("the disk of the server is full")
    assert sentence(progress.reading()).endswith("waiting: the disk of the server is full")
    progress.moved(PATH, 1)
    assert "waiting" not in sentence(progress.reading())


def test_failed_files_are_counted_apart() -> None:
    progress, _, _ = made()
    progress.expect(2, 20)
    progress.outcome(Outcome(PATH, "failed", 10, error=Busy("held")))
    progress.outcome(Outcome(RemotePath("b"), "already", 10))
    reading = progress.reading()
    assert (reading.files, reading.failed, reading.bytes) == (2, 1, 10)
    assert "1 failed" in sentence(reading)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1000)), max_size=40))
def test_a_file_never_counts_for_more_than_it_is(moves: list[tuple[int, int]]) -> None:
    meter = Meter("x", 0.0)
    for file, count in moves:
        meter.moved(str(file), count)
    for file in range(1, 6):
        moved = sum(count for number, count in moves if number == file)
        meter.ended(str(file), failed=False, size=moved + 7)
    assert meter.bytes == sum(count for _, count in moves) + 35
    assert meter.live == {}
    assert not meter.moved_of


@given(st.lists(st.tuples(st.floats(0.001, 100), st.integers(0, 1 << 40)), min_size=1, max_size=30))
def test_the_rate_stays_between_the_slowest_and_the_fastest(samples: list[tuple[float, int]]) -> None:
    meter, now = Meter("x", 0.0), 0.0
    rates = []
    for span, count in samples:
        before, now = now, now + span
        meter.moved("f", count)
        reading = meter.read(now)
        rates.append(count / (now - before))
        assert min(rates) * 0.999 - 1 <= reading.rate <= max(rates) * 1.001 + 1


def test_no_time_is_guessed_from_almost_nothing_or_for_nothing() -> None:
    meter = Meter("x", 0.0)
    meter.expect(1, 1 << 30)
    meter.moved("f", 81)
    assert meter.read(10.0).left is None
    meter.moved("f", 1 << 29)
    assert meter.read(20.0).left is not None
    meter.moved("f", 1 << 30)
    assert meter.read(30.0).left is None


def test_the_rate_forgets_a_pause() -> None:
    meter = Meter("x", 0.0)
    meter.moved("f", 1000)
    assert meter.read(10.0).rate == pytest.approx(100)
    assert meter.read(120.0).rate < 1


def test_lines_go_on_while_nothing_moves() -> None:
    ears = Ears()
    with Lines("upload", Display("text", io.StringIO(), ears, Look()), HandClock(), beat=0.01):
        for _ in range(3):
            assert ears.heard.acquire(timeout=60)
    assert ears.getvalue().count("upload: 0 B of 0 B") >= 3


def test_a_reader_that_goes_away_ends_the_lines_quietly() -> None:
    class Gone(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.tried = threading.Event()

        def write(self, text: str) -> int:
            self.tried.set()
            raise BrokenPipeError

    gone = Gone()
    with Lines("upload", Display("text", io.StringIO(), gone, Look()), HandClock(), beat=0.001):
        assert gone.tried.wait(60)


def test_events_tell_each_outcome_and_the_end() -> None:
    progress, display, _ = made("jsonl")
    assert isinstance(display.out, io.StringIO)
    with progress:
        progress.expect(1, 5)
        progress.outcome(Outcome(PATH, "moved", 5, Checksum("sha256", "0" * 64)))
    first, last = (json.loads(line) for line in display.out.getvalue().splitlines())
    assert (first["event"], first["path"], first["checksum"]) == ("file.outcome", PATH, "sha256:" + "0" * 64)
    assert (last["event"], last["files"], last["bytes"]) == ("progress", 1, 5)


def test_a_failed_outcome_tells_its_error() -> None:
    progress, display, _ = made("jsonl")
    assert isinstance(display.out, io.StringIO)
    progress.outcome(Outcome(HOSTILE, "failed", 5, error=Busy("held")))
    event = json.loads(display.out.getvalue())
    assert (event["kind"], event["path"], event["error"]["code"]) == ("failed", HOSTILE, "busy")


def test_silence_is_silent() -> None:
    progress, display, _ = made(quiet=True)
    assert isinstance(display.err, io.StringIO)
    with progress:
        progress.moved(PATH, 5)
    assert display.err.getvalue() == ""


def test_bars_show_the_files_on_the_way_without_their_control_characters() -> None:
    progress, display, _ = made(moves=True)
    assert isinstance(display.err, io.StringIO)
    with progress:
        progress.expect(2, 100)
        progress.phase(HOSTILE, "send")
        progress.moved(HOSTILE, 50)
    text = display.err.getvalue()
    assert "50 %" in text
    assert r"a\nb\x1b[2J" in text
    assert "\x1b[2J" not in text


def test_a_large_part_on_its_way_shows_as_rate_but_not_as_arrived() -> None:
    meter = Meter("upload", 0.0)
    meter.expect(1, 1000)
    meter.wired(400)
    reading = meter.read(2.0)
    assert (reading.bytes, reading.rate) == (0, 200.0)


def test_bytes_on_the_line_end_a_wait() -> None:
    meter = Meter("upload", 0.0)
    meter.waiting = "the server is away"
    meter.wired(1)
    assert meter.read(1.0).waiting == ""
