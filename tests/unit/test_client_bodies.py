"""Bodies as they are cut and joined, URLs as they are kept, calls as they are made together."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.client.body import Source, joined, size
from dray.client.urls import LIFE, SignedUrls
from dray.errors import Busy, DrayError, NotFound
from dray.fs import FileRange
from dray.model.values import Ref
from dray.model.views import SignedUrl
from dray.transports.base import Piece
from dray.transports.together import caught, cut, in_batches, loads_of, together

CONTENT = bytes(range(256)) * 4

ranges = st.builds(lambda a, b: FileRange(-1, min(a, b), abs(a - b)), st.integers(0, 1023), st.integers(0, 1023))
bodies = st.lists(st.one_of(st.binary(max_size=9), ranges))


def flat(parts: list[bytes | FileRange]) -> bytes:
    return b"".join(p if isinstance(p, bytes) else CONTENT[p.offset : p.offset + p.length] for p in parts)


@given(bodies)
def test_joined_parts_are_the_same_bytes_and_none_is_empty(parts: list[bytes | FileRange]) -> None:
    found = list(joined(parts))
    assert flat(found) == flat(parts)
    assert all(map(size, found))


@given(bodies, st.integers(1, 300), st.integers(0, 2000))
def test_a_body_is_read_whole_in_any_steps_and_again_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes | FileRange], step: int, offset: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    try:
        here = [FileRange(fd, p.offset, p.length) if isinstance(p, FileRange) else p for p in parts]
        source, whole = Source(here), flat(parts)
        assert source.length == len(whole)
        assert b"".join(iter(lambda: source.read(step), b"")) == whole
        source.seek(min(offset, len(whole)))
        assert b"".join(iter(lambda: source.read(step), b"")) == whole[offset:]
    finally:
        os.close(fd)


class Clock:
    now = 0.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Desk:
    """Signs URLs and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[int, int]]] = []

    async def sign(self, keys: list[tuple[int, int]]) -> list[SignedUrl | DrayError]:
        self.asked.append(list(keys))
        return [NotFound("no") if key[1] == 13 else SignedUrl(url=f"/{key[0]}/{key[1]}", expires=0) for key in keys]


def test_urls_are_asked_for_ahead_and_once() -> None:
    desk, clock = Desk(), Clock()

    async def story() -> None:
        urls = SignedUrls(desk.sign, clock)  # type: ignore[arg-type]
        found = await asyncio.gather(*(urls.get((1, n), [(1, 2), (1, 3)]) for n in (1, 2, 3)))
        assert [url.url for url in found] == ["/1/1", "/1/2", "/1/3"]

    asyncio.run(story())
    assert desk.asked == [[(1, 1), (1, 2), (1, 3)]]


def test_a_url_that_is_too_old_or_dropped_is_asked_for_again() -> None:
    desk, clock = Desk(), Clock()

    async def story() -> None:
        urls = SignedUrls(desk.sign, clock)  # type: ignore[arg-type]
        await urls.get((1, 1))
        clock.now = LIFE + 1
        await urls.get((1, 1))
        urls.drop((1, 1))
        await urls.get((1, 1))
        urls.clear()
        await urls.get((1, 1))

    asyncio.run(story())
    assert len(desk.asked) == 4


def test_a_failure_to_sign_is_that_of_its_part_alone() -> None:
    desk = Desk()

    async def story() -> None:
        urls = SignedUrls(desk.sign, Clock())  # type: ignore[arg-type]
        assert (await urls.get((1, 12), [(1, 13), (1, 14)])).url == "/1/12"
        with pytest.raises(NotFound):
            await urls.get((1, 13))
        assert (await urls.get((1, 14))).url == "/1/14"

    asyncio.run(story())


def test_calls_made_together_have_all_ended_when_one_fails() -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("slow")

    async def bad() -> None:
        raise Busy("no")

    with pytest.raises(Busy):
        asyncio.run(together([slow(), bad()]))
    assert ended == ["slow"]


def test_the_failure_of_a_whole_call_is_that_of_each_item() -> None:
    async def bad() -> list[int | DrayError]:
        raise Busy("no")

    first, second = asyncio.run(caught(bad(), 2))
    assert isinstance(first, Busy)
    assert first is not second


def test_calls_take_so_many_items_at_a_time() -> None:
    async def double(items: list[int]) -> list[int]:
        assert len(items) <= 3
        return [2 * item for item in items]

    assert asyncio.run(in_batches(list(range(7)), double, 3)) == [0, 2, 4, 6, 8, 10, 12]  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 50), max_size=600))
def test_loads_hold_every_piece_once_within_their_limits(sizes: list[int]) -> None:
    pieces = [Piece(Ref(str(n)), 1, 0, FileRange(-1, 0, length)) for n, length in enumerate(sizes)]
    loads = list(loads_of(pieces, 40))
    assert [piece for load in loads for piece in load] == pieces
    for load in loads:
        assert len(load) == 1 or sum(piece.at.length for piece in load) <= 40
        assert len(load) <= 256


def test_a_whole_file_is_cut_into_parts() -> None:
    parts = cut(Piece(Ref("1"), 1, 0, FileRange(3, 100, 25), 7), 10)
    assert [(p.number, p.offset, p.at) for p in parts] == [
        (1, 0, FileRange(3, 100, 10)),
        (2, 10, FileRange(3, 110, 10)),
        (3, 20, FileRange(3, 120, 5)),
    ]
