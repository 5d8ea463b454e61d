"""Parts cover a file exactly, batches hold every item once."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.errors import LimitReached
from dray.model.parts import Batcher, parts, plan_batches, plan_part_size
from dray.model.values import Limits

MIB = 1 << 20
TIB = 1 << 40

sizes = st.integers(0, 5 * TIB)


@given(sizes)
def test_a_file_has_at_most_ten_thousand_parts_of_at_least_a_piece(size: int) -> None:
    part_size = plan_part_size(size)
    assert len(parts(size, part_size)) <= 10_000
    assert part_size % (32 * MIB) == 0


@given(st.integers(0, 3_000), st.integers(1, 500))
def test_parts_cover_the_file_without_gap_or_overlap(size: int, part_size: int) -> None:
    plan = parts(size, part_size)
    assert [part.number for part in plan] == list(range(1, len(plan) + 1))
    assert plan[0].offset == 0
    assert all(one.offset + one.length == two.offset for one, two in itertools.pairwise(plan))
    assert plan[-1].offset + plan[-1].length == size
    assert all(part.length == part_size for part in plan[:-1])


def test_an_empty_file_is_one_empty_part() -> None:
    assert parts(0, 10) == [(1, 0, 0)]


def test_the_part_size_doubles_only_when_it_must() -> None:
    assert plan_part_size(10_000 * 32 * MIB) == 32 * MIB
    assert plan_part_size(10_000 * 32 * MIB + 1) == 64 * MIB


def test_a_file_for_which_no_part_size_is_large_enough_is_refused() -> None:
    with pytest.raises(LimitReached):
        plan_part_size(101, Limits(piece=10, most_parts=10, largest_piece=10))


@given(st.lists(st.integers(0, 60)), st.integers(1, 50), st.integers(1, 8))
def test_every_item_is_in_exactly_one_batch_within_the_limits(found: list[int], piece: int, files: int) -> None:
    items = list(enumerate(found))
    batches = list(plan_batches(items, lambda item: item[1], Limits(piece=piece, batch_files=files)))
    assert sorted(item for batch in batches for item in batch) == items
    for batch in batches:
        assert 1 <= len(batch) <= files
        assert len(batch) == 1 or sum(size for _, size in batch) <= piece


@given(st.lists(st.integers(0, 60)), st.integers(1, 50))
def test_small_items_keep_their_order(found: list[int], piece: int) -> None:
    items = [item for item in enumerate(found) if item[1] <= piece]
    batches = plan_batches(items, lambda item: item[1], Limits(piece=piece))
    assert [item for batch in batches for item in batch] == items


def test_batches_are_as_full_as_the_next_item_allows() -> None:
    assert list(plan_batches([4, 4, 4, 4], int, Limits(piece=10))) == [[4, 4], [4, 4]]


def test_a_large_item_goes_at_once_and_lets_the_others_wait() -> None:
    batcher = Batcher[int](int, Limits(piece=10))
    assert batcher.add(3) == []
    assert batcher.add(99) == [[99]]
    assert batcher.add(3) == []
    assert batcher.rest() == [[3, 3]]
    assert batcher.rest() == []


def test_batches_are_made_lazily() -> None:
    def endless() -> object:
        while True:
            yield 1

    first = next(iter(plan_batches(endless(), lambda item: 1, Limits(batch_files=4))))
    assert first == [1, 1, 1, 1]
