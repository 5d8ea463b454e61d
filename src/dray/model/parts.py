"""Plans how files are cut into parts and gathered into batches: pure arithmetic, sizes and offsets in bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from dray.errors import LimitReached
from dray.model.values import Limits

T = TypeVar("T")

DEFAULT = Limits()


class Part(NamedTuple):
    """One numbered range of a file; numbers begin at 1."""

    number: int
    offset: int
    length: int


def plan_part_size(size: int, limits: Limits = DEFAULT) -> int:
    """Return the part size for a file: ``limits.piece``, doubled until ``limits.most_parts`` are enough.

    Raises LimitReached when even the largest piece the place takes would need too many parts.
    """
    part_size = limits.piece
    while part_count(size, part_size) > limits.most_parts:
        part_size *= 2
    if part_size > max(limits.largest_piece, limits.piece):
        raise LimitReached(f"a file of {size} bytes is too large here", hint="cut it into several files")
    return part_size


def part_count(size: int, part_size: int) -> int:
    """Return how many parts a file has; an empty file is one empty part."""
    return max(1, -(-size // part_size))


def parts(size: int, part_size: int) -> Sequence[Part]:
    """Return all parts of a file in order; only the last one may be shorter than ``part_size``."""
    return [
        Part(index + 1, index * part_size, min(part_size, size - index * part_size))
        for index in range(part_count(size, part_size))
    ]


class Batcher(Generic[T]):
    """Gathers items into batches as they come: at most ``files`` of them and one piece's worth of bytes together.

    An item larger than a piece is a batch of one and does not make the others wait or leave early.
    """

    def __init__(self, size: Callable[[T], int], limits: Limits = DEFAULT) -> None:
        self._size = size
        self._limits = limits
        self._waiting: list[T] = []
        self._bytes = 0

    def add(self, item: T) -> list[list[T]]:
        """Take one item and return the batches that are complete now (mostly none)."""
        size = self._size(item)
        if size > self._limits.piece:
            return [[item]]
        ready = self.rest() if self._bytes + size > self._limits.piece else []
        self._waiting.append(item)
        self._bytes += size
        return ready + (self.rest() if len(self._waiting) >= self._limits.batch_files else [])

    def rest(self) -> list[list[T]]:
        """Return what still waits as a batch (none when nothing waits) and begin anew."""
        ready = [self._waiting] if self._waiting else []
        self._waiting, self._bytes = [], 0
        return ready


def plan_batches(items: Iterable[T], size: Callable[[T], int], limits: Limits = DEFAULT) -> Iterator[list[T]]:
    """Yield ``items`` in batches, lazily; every item is in exactly one."""
    batcher = Batcher(size, limits)
    for item in items:
        yield from batcher.add(item)
    yield from batcher.rest()
