"""Retry, throttle and log wrap any session."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from dray.client.rate import Rate
from dray.errors import Conflict, DrayError, PieceDamaged, SourceChanged, Unreachable
from dray.fs import FileRange
from dray.model.names import RemotePath
from dray.model.values import Entry, Landing, Limits, Receipt, Ref, Staged
from dray.transports.base import Piece
from dray.transports.memory import Memory, MemorySession
from dray.transports.wrappers import Logged, Retrying, Throttled


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Moody(MemorySession):
    """Answers what the script says, then as memory does."""

    def __init__(self, script: Sequence[Callable[[Sequence[Landing]], Sequence[Staged | DrayError]]]) -> None:
        super().__init__(Memory(Limits(piece=10)))
        self.script = list(script)
        self.asked: list[list[str]] = []

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | DrayError]:
        self.asked.append([landing.path for landing in landings])
        if self.script:
            return self.script.pop(0)(landings)
        return await super().stage(landings)

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | DrayError]:
        return [Receipt(piece.ref, piece.number, piece.at.length, 0, "service") for piece in pieces]


LANDINGS = [Landing(RemotePath(name), 1, "v") for name in "abc"]


def down(landings: object) -> Sequence[Staged | DrayError]:
    raise Unreachable("down")


def only_b_fails(landings: Sequence[Landing]) -> Sequence[Staged | DrayError]:
    return [
        Unreachable("b is away") if landing.path == "b" else Staged(Ref(landing.path), landing.path, 1, 10)
        for landing in landings
    ]


def retried(session: Moody, time: Time, heard: list[str] | None = None) -> Sequence[Staged | DrayError]:
    said = heard if heard is not None else []
    wrapper = Retrying(session, time, lambda error, delay: said.append(f"{error} {delay:g}"))
    wrapper.sleep, wrapper.jitter = time.sleep, lambda: 1.0
    return asyncio.run(wrapper.stage(LANDINGS))


def test_only_what_failed_is_asked_again() -> None:
    session, time = Moody([only_b_fails, only_b_fails]), Time()
    answers = retried(session, time)
    assert session.asked == [["a", "b", "c"], ["b"], ["b"]]
    assert all(isinstance(answer, Staged) for answer in answers)
    assert [answer.path for answer in answers if isinstance(answer, Staged)] == ["a", "b", "c"]


def test_a_line_that_is_down_is_waited_for_and_the_wait_is_told() -> None:
    session, time, heard = Moody([down] * 4), Time(), []
    answers = retried(session, time, heard)
    assert all(isinstance(answer, Staged) for answer in answers)
    assert time.slept == [1, 2, 4, 8]
    assert heard == ["down 1", "down 2", "down 4", "down 8"]


def test_after_three_days_without_progress_each_item_has_failed() -> None:
    session, time = Moody([down] * 10_000), Time()
    answers = retried(session, time)
    assert [str(answer) for answer in answers] == ["down"] * 3
    assert time.now >= 72 * 3600
    assert answers[0] is not answers[1]


@pytest.mark.parametrize("error", [Conflict("no"), SourceChanged("other")])
def test_what_cannot_be_helped_by_asking_again_is_answered_at_once(error: DrayError) -> None:
    session, time = Moody([lambda landings: [error for _ in landings]]), Time()
    assert list(retried(session, time)) == [error] * 3
    assert time.slept == []


def test_bytes_that_arrive_damaged_again_and_again_are_given_up() -> None:
    session, time = Moody([lambda landings: [PieceDamaged("bad") for _ in landings]] * 99), Time()
    assert [type(answer) for answer in retried(session, time)] == [PieceDamaged] * 3
    assert len(time.slept) == 4


def test_a_verdict_on_one_item_is_not_asked_for_again() -> None:
    time = Time()
    wrapper = Retrying(Moody([]), time)
    wrapper.sleep = time.sleep
    assert isinstance(asyncio.run(wrapper.publish([Ref("f:1::v/x")]))[0], DrayError)
    assert time.slept == []


class Breaking(MemorySession):
    """A listing that breaks after so many entries, and begins anew when it is asked for again."""

    def __init__(self, breaks: Sequence[int], error: DrayError) -> None:
        super().__init__(Memory())
        self.breaks, self.error = list(breaks), error

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        until = self.breaks.pop(0) if self.breaks else 9
        for n, name in enumerate("abcdef"):
            if n == until:
                raise self.error
            yield Entry(RemotePath(name), 1, 0)


def listed(session: Breaking, time: Time) -> Sequence[str]:
    wrapper = Retrying(session, time)
    wrapper.sleep, wrapper.jitter = time.sleep, lambda: 1.0

    async def story() -> Sequence[str]:
        return [entry.path async for entry in wrapper.list()]

    return asyncio.run(story())


def test_a_listing_that_breaks_goes_on_behind_the_last_entry() -> None:
    time = Time()
    assert listed(Breaking([3, 0, 5], Unreachable("down")), time) == list("abcdef")
    assert time.slept == [1, 2, 1]


def test_a_listing_that_is_refused_is_not_asked_for_again() -> None:
    with pytest.raises(Conflict):
        listed(Breaking([3], Conflict("no")), Time())


def test_bytes_wait_for_their_turn_and_the_rate_may_be_changed_meanwhile() -> None:
    time = Time()
    rate = Rate(time, 100.0)
    wrapper = Throttled(Moody([]), rate)
    wrapper.sleep = time.sleep
    piece = Piece(Ref("x"), 1, 0, FileRange(0, 0, 50))

    async def story() -> None:
        await wrapper.write([piece])
        await wrapper.write([piece, piece])
        rate.limit = None
        await wrapper.write([piece])

    asyncio.run(story())
    assert time.slept == [0.5]


def test_failures_are_logged_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        asyncio.run(Logged(Moody([lambda landings: [Conflict("evil\nname")] * 3]), "store").stage(LANDINGS))
        with pytest.raises(Unreachable):
            asyncio.run(Logged(Moody([down]), "store").stage(LANDINGS))
    lines = [record.getMessage() for record in caplog.records if record.name == "dray.transports"]
    assert lines == ["store stage of 3, 3 failed", *["store stage: evil\\nname"] * 3, "store stage of 3 failed: down"]


def test_wrappers_stack_and_keep_the_limits_of_what_they_wrap() -> None:
    stacked = Logged(Throttled(Retrying(Moody([]), Time()), Rate(Time())), "x")
    assert stacked.limits.piece == 10

    async def listed() -> list[object]:
        return [entry async for entry in stacked.list()]

    assert asyncio.run(listed()) == []
