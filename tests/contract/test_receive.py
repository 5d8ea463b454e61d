"""Bytes from a connection go into staged files, cut anywhere, and only whole and undamaged ones are receipted."""

import asyncio
import contextlib
import errno
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c

from dray.errors import Busy, Conflict, Disconnected, DrayError, LimitReached, NotFound, PieceDamaged, Refused
from dray.fs import At, Disk
from dray.model.names import RemotePath
from dray.model.parts import Part
from dray.model.values import Landing, Receipt, Ref
from dray.moving.receive import Arrival, BundleSink, PartSink
from dray.transports.posix import Posix, PosixSession
from dray.transports.refs import ref_of
from tests.contract.cargo import Cargo, content
from tests.contract.places import LIMITS

PIECE = LIMITS.piece
LARGE = content(2 * PIECE + 5)
PARTS = [Part(1, 0, PIECE), Part(2, PIECE, PIECE), Part(3, 2 * PIECE, 5)]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def session(tmp_path: Path, disk: Disk) -> Iterator[PosixSession]:
    with asyncio.Runner() as runner:
        place = Posix(tmp_path / "store", limits=LIMITS, disk=disk).connect()
        yield runner.run(place.__aenter__())
        runner.run(place.__aexit__(None, None, None))


def staged(session: PosixSession, name: str = "large", data: bytes = LARGE) -> Ref:
    landing = Landing(RemotePath(name), len(data), "v1", mtime_ns=1_700_000_000_000_000_000)
    return session._stage([landing])[0].ref  # type: ignore[union-attr]


def body(part: Part) -> bytes:
    return LARGE[part.offset : part.offset + part.length]


def feed(sink: PartSink | BundleSink, data: bytes, seed: int = 1) -> None:
    """Feed in pieces of any size, through one buffer that is used again."""
    dice = random.Random(seed)
    while data:
        buffer = bytearray(data[: dice.choice([1, 3, 500, 40_000])])
        sink.consume(memoryview(buffer))
        data = data[len(buffer) :]
        buffer[:] = b"\xee" * len(buffer)


def receive(session: PosixSession, ref: Ref, part: Part, data: bytes | None = None) -> Receipt:
    sent = body(part) if data is None else data
    with PartSink(session.staging, ref, part, crc32c(body(part))) as sink:
        feed(sink, sent)
        return sink.finish()


def bytes_of(session: PosixSession, ref: Ref) -> bytes:
    return next(Path(session.staging.root.path).glob("*/*.staged")).read_bytes()


def test_parts_of_a_file_are_received_in_any_order(session: PosixSession) -> None:
    ref = staged(session)
    for part in (PARTS[2], PARTS[0], PARTS[1]):
        assert receive(session, ref, part) == Receipt(ref, part.number, part.length, crc32c(body(part)), "durable")
    assert bytes_of(session, ref) == LARGE


def test_a_part_that_is_held_is_known_before_its_body_is_read(session: PosixSession) -> None:
    ref = staged(session)
    receipt = receive(session, ref, PARTS[0])
    with PartSink(session.staging, ref, PARTS[0], crc32c(body(PARTS[0]))) as sink:
        assert sink.receipt == receipt
    with PartSink(session.staging, ref, PARTS[0], crc32c(body(PARTS[0]))) as sink:
        feed(sink, bytes(PIECE))
        assert sink.finish() == receipt
    assert bytes_of(session, ref)[:PIECE] == body(PARTS[0])


def test_a_held_part_with_other_bytes_is_a_conflict_and_stays(session: PosixSession) -> None:
    ref = staged(session)
    receive(session, ref, PARTS[0])
    with pytest.raises(Conflict):
        PartSink(session.staging, ref, PARTS[0], 12345)
    receive(session, ref, PARTS[0])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (body(PARTS[0])[:-1], Disconnected),
        (body(PARTS[0]) + b"x", Refused),
        (b"x" + body(PARTS[0])[1:], PieceDamaged),
        (b"", Disconnected),
    ],
    ids=["short", "long", "damaged", "nothing"],
)
def test_what_is_not_the_announced_part_is_not_receipted(
    session: PosixSession, data: bytes, error: type[DrayError]
) -> None:
    ref = staged(session)
    with pytest.raises(error):
        receive(session, ref, PARTS[0], data)
    assert session.staging.stage(_target(ref))[1] == ()
    receive(session, ref, PARTS[0])


def _target(ref: Ref):  # type: ignore[no-untyped-def]
    from dray.transports.refs import target_of

    return target_of(ref)


def test_one_part_has_one_writer_at_a_time(session: PosixSession) -> None:
    ref = staged(session)
    with PartSink(session.staging, ref, PARTS[0], 1):
        with pytest.raises(Busy):
            PartSink(session.staging, ref, PARTS[0], 1)
        receive(session, ref, PARTS[1])
    receive(session, ref, PARTS[0])


def test_another_process_does_not_get_a_part_that_is_being_written(session: PosixSession, tmp_path: Path) -> None:
    ref = staged(session)
    with asyncio.Runner() as runner:
        place = Posix(tmp_path / "store", limits=LIMITS).connect()
        other = runner.run(place.__aenter__())
        with PartSink(session.staging, ref, PARTS[0], 1):
            with pytest.raises(Busy):
                PartSink(other.staging, ref, PARTS[0], 1)
            receive(other, ref, PARTS[1])
        runner.run(place.__aexit__(None, None, None))
    assert [held.number for held in session.staging.stage(_target(ref))[1]] == [2]


def test_there_is_no_part_of_what_is_not_staged(session: PosixSession) -> None:
    with pytest.raises(NotFound):
        PartSink(session.staging, ref_of(Landing(RemotePath("x"), len(LARGE), "v")), PARTS[0], 1)


@pytest.mark.parametrize("part", [Part(1, 0, 5), Part(4, 3 * PIECE, 1), Part(0, -PIECE, PIECE), Part(2, 0, PIECE)])
def test_there_are_only_planned_parts(session: PosixSession, part: Part) -> None:
    with pytest.raises(Refused):
        PartSink(session.staging, staged(session), part, 1)


def test_a_torn_line_of_the_side_file_costs_one_part_only(session: PosixSession) -> None:
    ref = staged(session)
    receive(session, ref, PARTS[0])
    receive(session, ref, PARTS[1])
    side = next(Path(session.staging.root.path).glob("*/*.parts"))
    for cut in range(1, 40):
        torn = side.read_bytes()[:-cut]
        side.unlink()
        side.write_bytes(torn)
        receive(session, ref, PARTS[2])
        held = session.staging.stage(_target(ref))[1]
        assert {1, 3} <= {one.number for one in held}
        side.unlink()
        side.write_bytes(torn + b"\xff" * cut)


def test_a_disk_that_is_full_says_so_and_the_part_is_taken_later(session: PosixSession, disk: Disk) -> None:
    ref = staged(session)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with replaced(disk, "pwrite", full), pytest.raises(DrayError, match="no space left"):
        receive(session, ref, PARTS[0])
    with replaced(disk, "sync_data", full), pytest.raises(DrayError, match="no space left"):
        receive(session, ref, PARTS[0])
    assert session.staging.stage(_target(ref))[1] == ()
    receive(session, ref, PARTS[0])


@contextlib.contextmanager
def replaced(disk: Disk, name: str, error: OSError) -> Iterator[None]:
    def fail(*arguments: object) -> None:
        raise error

    setattr(disk, name, fail)
    yield
    delattr(disk, name)


# Bundles


def bundle(files: dict[str, bytes], manifest: bytes = b"{}") -> bytes:
    return len(manifest).to_bytes(4, "big") + manifest + b"".join(files.values())


def arrivals(session: PosixSession, files: dict[str, bytes]) -> list[Arrival]:
    return [Arrival(len(data), crc32c(data), staged(session, name, data)) for name, data in files.items()]


FILES = {
    "a": b"",
    "b": b"1",
    "sub/c": content(1000),
    "d": b"",
    "e": content(PIECE, 3),
    "new\nline": b"x" * 10,
    "f": b"",
}


@pytest.mark.parametrize("seed", range(8))
def test_a_bundle_is_cut_into_its_files_wherever_the_stream_is_cut(session: PosixSession, seed: int) -> None:
    expected = arrivals(session, FILES)
    asked: list[bytes] = []

    def ask(manifest: bytes) -> Sequence[Arrival]:
        asked.append(manifest)
        return expected

    with BundleSink(session.staging, ask) as sink:
        feed(sink, bundle(FILES, b'{"items": []}'), seed)
        answers = sink.finish()
    assert asked == [b'{"items": []}']
    assert answers == [Receipt(one.ref, 1, one.size, one.crc32c, "service") for one in expected]
    session.published.publish([_target(one.ref) for one in expected])
    assert {name: (Path(session.root.path) / name).read_bytes() for name in FILES} == FILES


def test_a_failing_file_of_a_bundle_does_not_disturb_the_others(session: PosixSession) -> None:
    files = {"a": b"aaa", "b": b"bbbb", "c": b"ccccc", "d": b"dd"}
    found = arrivals(session, files)
    found[1] = msgspec.structs.replace(found[1], crc32c=1)
    found[2] = msgspec.structs.replace(found[2], refused=Conflict("not pending"))
    with BundleSink(session.staging, lambda manifest: found) as sink:
        feed(sink, bundle(files))
        answers = sink.finish()
    assert [type(answer) for answer in answers] == [Receipt, PieceDamaged, Conflict, Receipt]
    assert len(list(Path(session.staging.root.path).glob("*/*"))) == 2


def test_a_bundle_that_breaks_off_keeps_what_came_whole(session: PosixSession) -> None:
    files = {"a": b"aaa", "b": b"bbbb", "c": b"ccccc"}
    found = arrivals(session, files)
    with BundleSink(session.staging, lambda manifest: found) as sink:
        feed(sink, bundle(files)[:-7])
        answers = sink.finish()
    assert [type(answer) for answer in answers] == [Receipt, Disconnected, Disconnected]
    assert len(list(Path(session.staging.root.path).glob("*/*"))) == 1


def test_a_bundle_that_breaks_off_in_its_manifest_is_nothing(session: PosixSession) -> None:
    for stream in (b"", b"\0\0", b"\0\0\0\x09{}"):
        with BundleSink(session.staging, lambda manifest: []) as sink:
            feed(sink, stream)
            with pytest.raises(Disconnected):
                sink.finish()


def test_more_bytes_than_announced_are_refused(session: PosixSession) -> None:
    found = arrivals(session, {"a": b"aaa"})
    with BundleSink(session.staging, lambda manifest: found) as sink, pytest.raises(Refused):
        feed(sink, bundle({"a": b"aaa"}) + b"x")


def test_an_endless_manifest_is_refused_at_once(session: PosixSession) -> None:
    with BundleSink(session.staging, lambda manifest: []) as sink, pytest.raises(LimitReached):
        feed(sink, b"\x7f\xff\xff\xff{")


def test_a_small_file_may_be_sent_again_and_the_last_one_counts(session: PosixSession) -> None:
    for data in (b"damaged!", b"whole..."):
        with BundleSink(session.staging, lambda manifest, data=data: arrivals(session, {"a": data})) as sink:
            feed(sink, bundle({"a": data}))
            assert isinstance(sink.finish()[0], Receipt)
    assert next(Path(session.staging.root.path).glob("*/*.staged")).read_bytes() == b"whole..."


def test_what_nobody_comes_back_for_is_swept_and_what_lives_is_not(session: PosixSession) -> None:
    refs = [staged(session, name, LARGE) for name in ("live", "dead")]
    receive(session, refs[1], PARTS[0])
    live = {_target(refs[0]).name}
    assert session.staging.sweep(live, before=0.0) == 0
    assert session.staging.sweep(live, before=2**40) == 1
    assert {path.name for path in Path(session.staging.root.path).glob("*/*")} == {
        _target(refs[0]).name,
        f"{_target(refs[0]).name}.parts",
    }


class WithoutLinks(Disk):
    """A disk as FAT is."""

    def link(self, source: At, target: At) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_versions_are_kept_where_a_file_has_one_name_only(tmp_path: Path) -> None:
    async def story() -> None:
        async with Posix(tmp_path / "store", limits=LIMITS, disk=WithoutLinks()).connect() as session:
            for data in (b"old", b"newer"):
                with Cargo(tmp_path / "source", "file", data) as cargo:
                    await cargo.arrive(session)

    asyncio.run(story())
    assert (tmp_path / "store" / "file").read_bytes() == b"newer"
    assert [path.read_bytes() for path in tmp_path.glob("store/.dray/versions/*/*/*")] == [b"old"]
