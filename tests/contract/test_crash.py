"""Killed, cut off or refused at any point, the same move in a new process ends the same."""

import asyncio
import contextlib
import errno
import itertools
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dray.errors import DrayError
from dray.fs import Disk
from dray.model.values import Landing, Outcome, Receipt, Ref, Staged
from dray.moving.move import move
from dray.moving.source import LocalFiles
from dray.transports.base import Session
from dray.transports.refs import target_of
from dray.transports.wrappers import Wrapper
from tests.contract.cargo import Cargo, content, good, local_item
from tests.contract.disks import OPERATIONS, FaultyDisk, PowerDisk, SimulatedCrash
from tests.contract.places import LIMITS, Place, PosixPlace, SftpPlace

OLD = content(1500, 7)
FILES = {
    "run 1/small.dat": content(1000, 1),
    "run 1/empty": b"",
    "large.h5": content(2 * LIMITS.piece + 99, 2),
    "again.txt": content(1500, 3),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


async def run(source: Path, session: Session) -> list[Outcome]:
    outcomes = await move([local_item(source, name) for name in FILES], LocalFiles(source), session)
    return outcomes


async def with_an_older_version(place: Place, base: Path) -> None:
    async with place.connect() as session:
        with Cargo(base / "old", "again.txt", OLD) as cargo:
            await cargo.arrive(session)


def moved(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.path for outcome in outcomes if outcome.kind != "failed"]


def errors_of(outcomes: Sequence[Outcome]) -> list[str]:
    return [str(outcome.error) for outcome in outcomes if outcome.error is not None]


def check_nothing_is_half(place: Place) -> None:
    """Whoever looks now sees complete files only, the older version or the new one."""
    for path, data in place.contents().items():
        assert data in ([FILES[path], OLD] if path == "again.txt" else [FILES[path]]), f"{path} is half"
    if isinstance(place, PosixPlace | SftpPlace) and place.contents().get("again.txt") == FILES["again.txt"]:
        assert OLD in [kept.read_bytes() for kept in place.root.glob(".dray/versions/*/*/*")], "the old one is lost"


async def recover(place: Place, source: Path) -> None:
    """Run it again as a new process and check that everything is there once."""
    async with place.connect() as session:
        outcomes = await run(source, session)
        assert errors_of(outcomes) == []
        assert [outcome.proof is not None for outcome in outcomes] == [True] * len(FILES)
    assert place.contents() == FILES
    assert place.leftovers() == []


class Crashing(Wrapper):
    """Dies after the n-th call has had its effect, before its answer arrives."""

    def __init__(self, inner: Session, n: int) -> None:
        super().__init__(inner)
        self.left = n

    async def around(self, name, call, items):  # type: ignore[no-untyped-def]
        if self.left < 0:
            raise SimulatedCrash
        answers = await call(items)
        self.left -= 1
        if self.left == 0:
            self.left = -1
            raise SimulatedCrash
        return answers


CALLS = 11


def test_a_move_makes_no_more_calls_than_are_tried_below(place: Place, source: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            crashing = Crashing(session, 10**6)
            assert errors_of(await run(source, crashing)) == []
            assert 10**6 - crashing.left <= CALLS

    asyncio.run(story())


@pytest.mark.parametrize("n", range(1, CALLS + 1))
def test_dropped_after_any_call_the_move_ends_the_same(place: Place, source: Path, tmp_path: Path, n: int) -> None:
    async def first() -> None:
        await with_an_older_version(place, tmp_path)
        async with place.connect() as session:
            await run(source, Crashing(session, n))

    try:
        asyncio.run(first())
    except SimulatedCrash:
        place.crash()
    check_nothing_is_half(place)
    asyncio.run(recover(place, source))


# Every operation on the disk: the stride that fits a quick run, all of them with FULL=1

STRIDE = 1 if os.environ.get("FULL") else 4
FEWEST = 70
"""Operations that a run is known to make; if there were far fewer, the disk would not be where they pass."""


def trials(base: Path, phase: int) -> Iterator[tuple[int, PosixPlace]]:
    """Yield numbers of operations with a place each, new but for an older version; ends when told that none is left."""
    for n in itertools.count(1 + phase % STRIDE, STRIDE):
        place = PosixPlace(base / f"place-{n}")
        place.root.mkdir()
        (place.root / "again.txt").write_bytes(OLD)
        yield n, place


async def attempt(place: PosixPlace, source: Path) -> list[Outcome]:
    async with place.connect() as session:
        return await run(source, session)


def was_hit(n: int, disk: FaultyDisk) -> bool:
    """Say whether the n-th operation came at all, which must be so for a good many."""
    hit = len(disk.log) >= n
    assert hit or n > FEWEST
    return hit


@pytest.mark.parametrize("torn", [False, True], ids=["killed", "torn"])
def test_killed_at_any_operation_the_move_ends_the_same(tmp_path: Path, source: Path, torn: bool) -> None:
    for n, place in trials(tmp_path, torn):
        disk = FaultyDisk(n, torn=torn)
        with contextlib.suppress(SimulatedCrash):
            asyncio.run(attempt(PosixPlace(place.root, disk), source))
        if not was_hit(n, disk):
            break
        check_nothing_is_half(place)
        asyncio.run(recover(place, source))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_refused_at_any_operation_the_move_says_so_and_ends_the_same_next_time(
    tmp_path: Path, source: Path, number: int
) -> None:
    for n, place in trials(tmp_path, number):
        disk = FaultyDisk(n, OSError(number, os.strerror(number)))
        outcomes: list[Outcome] = []
        with contextlib.suppress(DrayError):
            outcomes = asyncio.run(attempt(PosixPlace(place.root, disk), source))
        if not was_hit(n, disk):
            break
        found = place.contents()
        assert all(found.get(path) == FILES[path] for path in moved(outcomes)), f"false success at {disk.log[n - 1]}"
        check_nothing_is_half(place)
        asyncio.run(recover(place, source))


class Witness(Wrapper):
    """Writes down what it was told is durable."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.receipts: list[Receipt] = []
        self.published: list[str] = []
        self.publishing = False

    async def around(self, name, call, items):  # type: ignore[no-untyped-def]
        self.publishing = self.publishing or name == "publish"
        answers = await call(items)
        self.receipts += [one for one in answers if isinstance(one, Receipt) and one.level == "durable"]
        if name == "publish":
            self.published += [entry.path for entry in answers if not isinstance(entry, DrayError)]
        return answers


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_a_power_cut_takes_nothing_that_was_acknowledged(tmp_path: Path, source: Path, keep: float) -> None:
    for n, place in trials(tmp_path, round(keep * 10)):
        disk, witnesses = PowerDisk(tmp_path / f"graveyard-{n}", n), []
        with contextlib.suppress(SimulatedCrash):
            asyncio.run(witnessed(PosixPlace(place.root, disk), source, witnesses))
        if not was_hit(n, disk):
            break
        disk.cut(random.Random(n), keep)
        check_nothing_is_half(place)
        check_what_was_told(place, witnesses[0] if witnesses else None)
        asyncio.run(recover(place, source))


async def witnessed(place: PosixPlace, source: Path, witnesses: list[Witness]) -> None:
    async with place.connect() as session:
        witnesses.append(Witness(session))
        await run(source, witnesses[0])


def check_what_was_told(place: PosixPlace, witness: Witness | None) -> None:
    found = place.contents()
    if witness is None:
        return
    assert all(found[path] == FILES[path] for path in witness.published)
    # The model may lose the new name of a rename and keep the loss of the old one, which file systems with a journal do
    # not: once the file is being renamed it has to be sent again there, and nothing said that it had arrived.
    if witness.receipts and not witness.publishing and "large.h5" not in found:
        target = target_of(witness.receipts[0].ref)
        data = next(place.root.glob(f".dray/staging/*/{target.name}")).read_bytes()
        for receipt in witness.receipts:
            begin = (receipt.number - 1) * LIMITS.piece
            assert data[begin : begin + receipt.length] == FILES["large.h5"][begin : begin + receipt.length]
        held = asyncio.run(staged_again(place, witness.receipts[0].ref)).held
        assert {receipt.number for receipt in witness.receipts} <= {one.number for one in held}


async def staged_again(place: PosixPlace, ref: Ref) -> Staged:
    target = target_of(ref)
    async with place.connect() as session:
        landing = Landing(target.path, target.size, target.version, target.on_exists, mtime_ns=target.mtime_ns)
        return good(await session.stage([landing]))[0]


def test_every_operation_of_the_disk_is_counted_and_can_be_lost() -> None:
    assert len(OPERATIONS) == 14
    assert all(getattr(FaultyDisk, name) is not getattr(Disk, name) for name in OPERATIONS)
    assert all(hasattr(PowerDisk, f"on_{name}") for name in OPERATIONS)
