"""Calls that belong together: in batches of what a server takes, at the same time, failures as values."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from dray.errors import DrayError
from dray.fs import FileRange
from dray.model.values import Entry, Receipt
from dray.model.views import BATCH
from dray.transports.base import Failure, Piece

T = TypeVar("T")
R = TypeVar("R")
Answers = Sequence[Receipt | Failure]


async def together(works: Iterable[Awaitable[R]]) -> list[R]:
    """Run all at once and return their results in order; when one raises, the others have ended before it is raised."""
    running = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for one in running:
            one.cancel()
        while not all(one.done() for one in running):
            await asyncio.wait(running)


async def in_path_order(
    scan: Callable[[str], Awaitable[tuple[Sequence[Entry], Sequence[str]]]], folder: str
) -> AsyncIterator[Entry]:
    """Yield the files below a folder in the order of their paths; ``scan`` returns those in one, and its folders."""
    files, folders = await scan(folder)
    found: dict[str, Entry | None] = {entry.path: entry for entry in files}
    found.update({f"{below}/": None for below in folders})
    for path in sorted(found):
        entry = found[path]
        if entry is not None:
            yield entry
        else:
            async for deeper in in_path_order(scan, path[:-1]):
                yield deeper


async def caught(work: Awaitable[Sequence[R | Failure]], items: int) -> Sequence[R | Failure]:
    """Return the answers, or the failure of the whole as the answer of each item."""
    try:
        return await work
    except DrayError as error:
        return [copy.copy(error) for _ in range(items)]


async def in_batches(
    items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int = BATCH
) -> list[R]:
    """Call for at most ``most`` items at a time."""
    answers: list[R] = []
    for start in range(0, len(items), most):
        answers.extend(await call(items[start : start + most]))
    return answers


async def carry(
    pieces: Sequence[Piece], loads: Sequence[Sequence[Piece]], work: Callable[[Sequence[Piece]], Awaitable[Answers]]
) -> Answers:
    """Run all loads at once and put their answers into the order of the pieces."""
    given = await together(caught(work(load), len(load)) for load in loads)
    found: dict[Piece, Receipt | Failure] = {}
    for load, answers in zip(loads, given, strict=True):
        found.update(zip(load, answers, strict=True))
    return [found[piece] for piece in pieces]


def loads_of(pieces: Iterable[Piece], most_bytes: int) -> Iterator[list[Piece]]:
    """Group whole files for bundles, in order: at most ``BATCH`` and ``most_bytes`` (or one file) in each."""
    load: list[Piece] = []
    weight = 0
    for piece in pieces:
        if load and (len(load) == BATCH or weight + piece.at.length > most_bytes):
            yield load
            load, weight = [], 0
        load.append(piece)
        weight += piece.at.length
    if load:
        yield load


def cut(piece: Piece, size: int) -> list[Piece]:
    """Cut a whole file into parts of ``size`` bytes, whose checksums are not known yet."""
    at = piece.at
    return [
        Piece(piece.ref, part + 1, start, FileRange(at.file, at.offset + start, min(size, at.length - start)))
        for part, start in enumerate(range(0, at.length, size))
    ]
