"""Reading a larger file again while it arrives: the same answer as reading all of it at the end, never an older one."""

import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crc32c import crc32c

from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.parts import Part, parts
from dray.model.values import Claim, Landing, Limits, Proof, Ref
from dray.transports.from_disk import FromDisk, make_buffer
from dray.transports.posix import Posix, PosixSession
from dray.transports.refs import Target, ref_of, target_of

PIECE = 1 << 20
SIZE = 5 * PIECE + 1234
BYTES = random.Random(1).randbytes(SIZE)
LANDING = Landing(RemotePath("run/big.h5"), SIZE, "v1")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[PosixSession]:
    made = PosixSession(Posix(tmp_path, limits=Limits(piece=PIECE)), ThreadPoolExecutor(1))
    yield made
    made.close()


def begin(session: PosixSession) -> Target:
    target = target_of(ref_of(LANDING))
    session.staging.stage(target)
    return target


def send(session: PosixSession, ref: Ref, sent: list[Part], data: bytes = BYTES) -> None:
    for part in sent:
        body = memoryview(data)[part.offset : part.offset + part.length]
        with session.staging.lend(ref, part) as lent:
            lent.take(body)
            lent.receipt(crc32c(body))


def read_so_far(session: PosixSession, target: Target) -> int:
    """Wait until nothing more can be read and say how far that is."""
    ahead = session.verifier.ahead
    ahead._pool.submit(int).result()
    reading = ahead._readings.get(target.name)
    return 0 if reading is None else reading.done


def prove(session: PosixSession, target: Target, data: bytes = BYTES) -> Proof | DrayError:
    claim = Claim(target.ref, SIZE, Checksum("sha256", hashlib.sha256(data).hexdigest()))
    (proof,) = session.verifier.verify([claim])
    return proof


def digest(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())


def test_parts_are_read_as_they_come_and_the_rest_at_the_end(session: PosixSession) -> None:
    target = begin(session)
    first, second, third, *rest = parts(SIZE, PIECE)
    send(session, target.ref, [second])
    assert read_so_far(session, target) == 0
    send(session, target.ref, [first])
    assert read_so_far(session, target) == 2 * PIECE
    send(session, target.ref, [*rest, third])
    assert read_so_far(session, target) == SIZE
    proof = prove(session, target)
    assert isinstance(proof, Proof)
    assert (proof.size, proof.checksum) == (SIZE, digest(BYTES))


def test_a_part_that_was_not_read_yet_is_read_when_it_is_verified(session: PosixSession) -> None:
    target = begin(session)
    planned = list(parts(SIZE, PIECE))
    send(session, target.ref, planned[:2])
    assert read_so_far(session, target) == 2 * PIECE
    session.staging.followed = lambda target: None
    send(session, target.ref, planned[2:])
    proof = prove(session, target)
    assert isinstance(proof, Proof)
    assert proof.checksum == digest(BYTES)


def test_what_is_damaged_before_it_is_read_shows(session: PosixSession) -> None:
    target = begin(session)
    session.staging.followed = lambda target: None
    send(session, target.ref, list(parts(SIZE, PIECE)))
    with open(session.staging.local(target), "r+b") as staged:
        staged.seek(3 * PIECE)
        staged.write(b"\0" * 16)
    session.verifier.ahead.follow(target)
    assert read_so_far(session, target) == SIZE
    proof = prove(session, target)
    assert isinstance(proof, Proof)
    assert proof.checksum != digest(BYTES)


def test_nothing_that_was_read_of_a_discarded_file_counts_for_its_successor(session: PosixSession) -> None:
    target = begin(session)
    send(session, target.ref, list(parts(SIZE, PIECE))[:4])
    assert read_so_far(session, target) == 4 * PIECE
    session.staging.discard(target)
    other = random.Random(2).randbytes(SIZE)
    send(session, begin(session).ref, list(parts(SIZE, PIECE)), other)
    proof = prove(session, target)
    assert isinstance(proof, Proof)
    assert proof.checksum == digest(other)


def test_what_another_process_begins_anew_is_read_from_its_start(session: PosixSession, tmp_path: Path) -> None:
    target = begin(session)
    send(session, target.ref, list(parts(SIZE, PIECE))[:4])
    assert read_so_far(session, target) == 4 * PIECE
    another = PosixSession(Posix(tmp_path, limits=Limits(piece=PIECE)), ThreadPoolExecutor(1))
    other = random.Random(3).randbytes(SIZE)
    try:
        another.staging.discard(target)
        send(another, begin(another).ref, list(parts(SIZE, PIECE)), other)
    finally:
        another.close()
    proof = prove(session, target)
    assert isinstance(proof, Proof)
    assert proof.checksum == digest(other)


def test_a_side_file_that_outlived_its_file_is_removed_by_whoever_comes_next(
    session: PosixSession, tmp_path: Path
) -> None:
    target = begin(session)
    send(session, target.ref, list(parts(SIZE, PIECE)))
    session.staging.unlink(target)
    another = PosixSession(Posix(tmp_path, limits=Limits(piece=PIECE)), ThreadPoolExecutor(1))
    another.close()
    assert not list((tmp_path / ".dray" / "staging").rglob("*.parts"))


@pytest.mark.parametrize("begin_at", [0, 4096, 4097, SIZE - 1, SIZE])
@pytest.mark.parametrize("direct", [True, False])
def test_any_range_is_read_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin_at: int, *, direct: bool
) -> None:
    if not direct:
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    (tmp_path / "f").write_bytes(BYTES)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        for end in (begin_at, begin_at + 1, SIZE - 7, SIZE, SIZE + 5000):
            views = FromDisk(fd, make_buffer()).views(begin_at, end)
            assert b"".join(bytes(view) for view in views) == BYTES[begin_at:end]
    finally:
        os.close(fd)
