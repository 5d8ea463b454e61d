"""Files for a bucket of a real Ceph, and everything that can go wrong between."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from dray.clock import SystemClock
from dray.errors import (
    Conflict,
    Denied,
    DrayError,
    NotFound,
    PieceDamaged,
    Refused,
    Temporary,
    Unauthenticated,
    Unreachable,
    UsageError,
)
from dray.model.names import RemotePath
from dray.model.retry import Persistence
from dray.model.values import Change, Limits, Outcome
from dray.moving.move import move
from dray.moving.source import LocalFiles
from dray.transports.base import Session
from dray.transports.s3 import final
from dray.transports.s3.crowd import Crowd
from dray.transports.s3.session import KEPT, S3, S3Session
from dray.transports.wrappers import Retrying
from tests.contract.cargo import Cargo, content, entries, good, local_item, read_back
from tests.faults.link import Link, link_to
from tests.servers.ceph import ACCESS, Ceph, Reader
from tests.servers.lying import Liar, Lie, lying

MIB = 1 << 20
LIMITS = Limits(piece=MIB, in_flight=3)
BIG = 12 * MIB + 5
NUMBERS = itertools.count(1)


@pytest.fixture
def ceph(ceph_server: Ceph) -> Ceph:
    """A service that runs, whatever the last test did to it."""
    if not ceph_server.gateway.running:
        ceph_server.start_gateway()
    return ceph_server


@pytest.fixture
def prefix() -> str:
    return f"test+%41 ü&<{next(NUMBERS)}"


@pytest.fixture
def liar(ceph: Ceph) -> Iterator[Liar]:
    with lying(ceph.port) as found:
        yield found


@pytest.fixture
def link(ceph: Ceph, tmp_path: Path) -> Iterator[Link]:
    with link_to(tmp_path, ceph.port) as found:
        yield found


@asynccontextmanager
async def patient(transport: S3) -> AsyncIterator[Session]:
    async with transport.connect() as session:
        yield Retrying(session, SystemClock(), persistence=Persistence(60.0, 0.3))


def source(tmp_path: Path, size: int = BIG) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "big").write_bytes(content(size, 5))
    return root


async def send(root: Path, session: Session, name: str = "big") -> Outcome:
    return (await move([local_item(root, name)], LocalFiles(root), session))[0]


def is_part(method: str, path: str) -> bool:
    return method == "PUT" and "partNumber" in path


def is_complete(method: str, path: str) -> bool:
    return method == "POST" and "uploadId" in path


def staged(reader: Reader, prefix: str) -> list[str]:
    return [*reader.contents(f"{prefix}/.dray/staging/"), *reader.uploads(f"{prefix}/.dray/staging/")]


# Away, cut, killed


def test_a_gateway_that_is_killed_in_the_middle_costs_a_part_of_each_connection(
    ceph: Ceph, link: Link, prefix: str, tmp_path: Path
) -> None:
    root, size = source(tmp_path, 24 * MIB), 24 * MIB

    async def kill() -> None:
        def wait_and_kill() -> None:
            deadline = time.monotonic() + 30
            while link.order()["files"] < 8 * MIB:
                assert time.monotonic() < deadline, "nothing is sent"
                time.sleep(0.02)
            ceph.gateway.kill9()
            ceph.start_gateway()

        await asyncio.to_thread(wait_and_kill)

    async def story() -> None:
        link.order("rate", way="up", bytes=8 * MIB)
        async with patient(ceph.transport(prefix, LIMITS, link.url)) as session:
            outcome, _ = await asyncio.gather(send(root, session), kill())
            assert outcome.error is None

    asyncio.run(story())
    assert ceph.reader().contents(f"{prefix}/") == {"big": content(size, 5)}
    # Besides: what was tried while the gateway came up.
    assert link.order()["files"] <= size + (LIMITS.in_flight + 1) * MIB


@pytest.mark.parametrize(("way", "how"), [("up", "rst"), ("up", "fin"), ("down", "rst"), ("down", "fin")])
def test_connections_that_break_anywhere_cost_a_part_of_each(
    ceph: Ceph, link: Link, prefix: str, tmp_path: Path, way: str, how: str
) -> None:
    root = source(tmp_path)

    async def story() -> None:
        after = 3 * MIB + 12_345 if way == "up" else 700
        link.order("cut", way=way, after=after, how=how, all=True)
        link.order("cut", way=way, after=2 * after, how=how, all=True)
        async with patient(ceph.transport(prefix, LIMITS, link.url)) as session:
            assert (await send(root, session)).error is None
            found = await entries(session)
            link.order("cut", way="down", after=5 * MIB, how=how, all=True)
            assert await read_back(session, found[0], tmp_path) == content(BIG, 5)

    asyncio.run(story())
    assert ceph.reader().contents(f"{prefix}/") == {"big": content(BIG, 5)}
    assert len(link.fired) == 3
    assert link.order()["files"] <= BIG + 2 * LIMITS.in_flight * MIB


def test_reading_back_goes_on_where_it_broke_off(ceph: Ceph, link: Link, prefix: str, tmp_path: Path) -> None:
    root = source(tmp_path)

    async def story() -> None:
        async with patient(ceph.transport(prefix, LIMITS, link.url)) as session:
            link.order("cut", way="down", after=8 * MIB, how="rst", all=True)
            assert (await send(root, session)).error is None

    asyncio.run(story())
    assert len(link.fired) == 1
    # What lay in the buffers of the broken connection came again, not all 8 MiB.
    assert link.order()["down"] < BIG + 6 * MIB


def test_a_service_that_is_not_there_is_unreachable(ceph: Ceph, prefix: str) -> None:
    async def story() -> None:
        async with ceph.transport(prefix, LIMITS, "http://127.0.0.1:9").connect():
            pass

    with pytest.raises(Unreachable):
        asyncio.run(story())


# Refused, lied to


def test_what_the_service_refuses_for_now_is_sent_again(ceph: Ceph, liar: Liar, prefix: str, tmp_path: Path) -> None:
    root = source(tmp_path)
    slow = b"<Error><Code>SlowDown</Code></Error>"
    expired = b"<Error><Code>ExpiredToken</Code></Error>"

    async def story() -> None:
        liar.order(Lie("refuse", is_part, 3, 503, slow))
        liar.order(Lie("refuse", is_part, 2, 403, expired))
        liar.order(Lie("lose", is_part, 2))
        liar.order(Lie("refuse", is_complete, 1, 500))
        liar.order(Lie("cut", lambda method, path: method == "GET" and "data-" in path, 2))
        liar.order(Lie("refuse", lambda method, path: method == "PUT" and path.endswith("/big"), 1, 503, slow))
        async with patient(ceph.transport(prefix, LIMITS, liar.url)) as session:
            assert (await send(root, session)).error is None

    asyncio.run(story())
    assert sorted(liar.told) == ["cut"] * 2 + ["lose"] * 2 + ["refuse"] * 7
    assert ceph.reader().contents(f"{prefix}/") == {"big": content(BIG, 5)}


def test_a_completion_whose_answer_is_lost_is_found_to_be_done(
    ceph: Ceph, liar: Liar, prefix: str, tmp_path: Path
) -> None:
    root = source(tmp_path)

    async def story() -> None:
        liar.order(Lie("lose", is_complete))
        async with ceph.transport(prefix, LIMITS, liar.url).connect() as session:
            assert (await send(root, session)).error is None

    asyncio.run(story())
    assert liar.told == ["lose"]
    assert staged(ceph.reader(), prefix) == []


def test_a_part_with_a_wrong_etag_is_not_believed(ceph: Ceph, liar: Liar, prefix: str, tmp_path: Path) -> None:
    root = source(tmp_path)

    async def story() -> None:
        liar.order(Lie("header", is_part, header=("etag", f'"{"0" * 32}"')))
        async with ceph.transport(prefix, LIMITS, liar.url).connect() as session:
            assert isinstance((await send(root, session)).error, DrayError)
            assert await entries(session) == []
        async with ceph.transport(prefix, LIMITS, liar.url).connect() as session:
            assert (await send(root, session)).error is None

    asyncio.run(story())
    assert liar.told == ["header"]
    assert sum(1 for heard in liar.heard if is_part(*heard)) == 14
    assert ceph.reader().contents(f"{prefix}/") == {"big": content(BIG, 5)}


def test_bytes_that_changed_on_the_way_are_found_before_they_get_a_name(
    ceph: Ceph, link: Link, prefix: str, tmp_path: Path
) -> None:
    root = source(tmp_path)
    (root / "small").write_bytes(content(300_000))

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS, link.url).connect() as session:
            for name in ("small", "big"):
                link.order("flip", way="up", after=100_000, mask=1, body="files")
                outcome = await send(root, session, name)
                assert outcome.error is not None, name
                assert outcome.error.code == "integrity"  # type: ignore[attr-defined]
            assert await entries(session) == []
            for name in ("small", "big"):
                assert (await send(root, session, name)).error is None

    asyncio.run(story())
    assert len(link.fired) == 2
    assert ceph.reader().contents(f"{prefix}/") == {"big": content(BIG, 5), "small": content(300_000)}


def test_bytes_that_are_not_what_was_read_never_arrive_whole(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with ceph.transport(prefix, LIMITS).connect() as session:
            with Cargo(tmp_path / "src", "file", content(MIB)) as cargo:
                one = await cargo.stage(session)
                piece = cargo.piece(one)
                wrong = msgspec.structs.replace(piece, crc32c=(piece.crc32c or 0) ^ 1)
                assert isinstance((await session.write([wrong]))[0], PieceDamaged)

    asyncio.run(story())
    assert staged(ceph.reader(), prefix) == []


# Buckets, keys, clocks


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, Unauthenticated, "secret key"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, Unauthenticated, "access key"),
        ({"AWS_ENDPOINT_URL": "ftp://x"}, UsageError, "address"),
    ],
)
def test_what_is_wrong_with_the_keys_is_told(
    ceph: Ceph, prefix: str, more: dict[str, str], kind: type[DrayError], said: str
) -> None:
    transport = ceph.transport(prefix, LIMITS)

    async def story() -> None:
        async with S3(transport.settings, SystemClock(), environ={**ceph.env(), **more}).connect():
            pass

    with pytest.raises(kind, match=said) as caught:
        asyncio.run(story())
    assert "draysecret" not in str(caught.value)
    assert ACCESS not in str(caught.value)


def test_a_bucket_that_is_not_there_is_told(ceph: Ceph, prefix: str) -> None:
    settings = msgspec.structs.replace(ceph.transport(prefix, LIMITS).settings, bucket="not-there")

    async def story() -> None:
        async with S3(settings, SystemClock(), environ=ceph.env()).connect():
            pass

    with pytest.raises(NotFound, match="s3://not-there: there is no such bucket"):
        asyncio.run(story())


class Skewed(SystemClock):
    def wall(self) -> float:
        return time.time() + 3600


def test_a_clock_that_is_wrong_is_told_by_how_much(ceph: Ceph, prefix: str) -> None:
    settings = ceph.transport(prefix, LIMITS).settings

    async def story() -> None:
        async with S3(settings, Skewed(), environ=ceph.env()).connect():
            pass

    with pytest.raises(Denied, match=r"clock of this machine is wrong: it is 3,[56].. s ahead"):
        asyncio.run(story())


def test_what_a_policy_forbids_is_denied(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::denied/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    ceph.reader("denied").client.put_bucket_policy(Bucket="denied", Policy=policy)

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS, bucket="denied").connect() as session:
            with Cargo(tmp_path / "src", "file", b"x") as cargo:
                await cargo.arrive(session)

    with pytest.raises(Denied, match="does not allow"):
        asyncio.run(story())


def test_a_versioned_bucket_keeps_nothing_of_what_was_staged(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    reader = ceph.reader("versioned")
    reader.client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    root = source(tmp_path)
    (root / "small").write_bytes(b"small")

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS, bucket="versioned").connect() as session:
            for name in ("big", "small", "small"):
                assert (await send(root, session, name)).error is None
            (root / "small").write_bytes(b"other")
            assert (await send(root, session, "small")).error is None

    asyncio.run(story())
    found = reader.client.list_object_versions(Bucket="versioned", Prefix=f"{prefix}/.dray/staging/")
    assert "Versions" not in found
    assert "DeleteMarkers" not in found
    kept = reader.contents(f"{prefix}/")
    assert (kept["small"], kept["big"]) == (b"other", content(BIG, 5))
    assert b"small" in [data for path, data in kept.items() if path.startswith(".dray/versions/")]


# Going on


def test_more_than_a_thousand_parts_are_found_again(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    limits = Limits(piece=64 << 10, in_flight=8)
    parts = 1_010

    async def story() -> None:
        with Cargo(tmp_path / "src", "file", content(parts * limits.piece)) as cargo:
            async with ceph.transport(prefix, limits).connect() as session:
                one = await cargo.stage(session)
                good(await session.write(cargo.pieces(one)[:-1]))
            async with ceph.transport(prefix, limits).connect() as session:
                again = await cargo.stage(session)
                assert [held.number for held in again.held] == list(range(1, parts))
                await cargo.write(session, again)
                await cargo.verify(session, again)
                good(await session.publish([again.ref]))

    asyncio.run(story())
    reader = ceph.reader()
    assert reader.read(f"{prefix}/file") == content(parts * limits.piece)
    assert staged(reader, prefix) == []


def test_more_than_a_thousand_versions_and_uploads_are_found_again(ceph: Ceph, prefix: str) -> None:
    reader = ceph.reader("many")
    reader.client.put_bucket_versioning(Bucket="many", VersioningConfiguration={"Status": "Enabled"})

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS, bucket="many").connect() as session:
            bucket, crowd = session.bucket, Crowd(12)
            good(await crowd.each(range(1_005), lambda n: bucket.put(f"{prefix}/a {n % 3}", (b"x",))))
            good(await crowd.each(range(1_005), lambda n: bucket.begin(f"{prefix}/u {n % 3}")))
            versions = await bucket.versions(f"{prefix}/")
            uploads = await bucket.uploads(f"{prefix}/")
            assert len(set(versions)) == len(versions) == 1_005
            assert len({one.id for one in uploads}) == len(uploads) == 1_005
            assert {one.key for one in uploads} == {f"{prefix}/u {n}" for n in range(3)}
            await bucket.delete_all(versions)
            assert await bucket.versions(f"{prefix}/") == []

    asyncio.run(story())


def test_a_part_whose_mark_was_not_written_is_sent_again(ceph: Ceph, liar: Liar, prefix: str, tmp_path: Path) -> None:
    async def story() -> None:
        with Cargo(tmp_path / "src", "file", content(3 * MIB)) as cargo:
            async with ceph.transport(prefix, LIMITS, liar.url).connect() as session:
                liar.order(Lie("refuse", lambda method, path: "part-2-" in path))
                one = await cargo.stage(session)
                answers = await session.write(cargo.pieces(one))
                assert [isinstance(answer, Temporary) for answer in answers] == [False, True, False]
            async with ceph.transport(prefix, LIMITS).connect() as session:
                again = await cargo.stage(session)
                assert [held.number for held in again.held] == [1, 3]

    asyncio.run(story())


def test_two_processes_that_begin_at_once_end_in_one_file(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    root = source(tmp_path)

    async def one() -> Outcome:
        async with patient(ceph.transport(prefix, LIMITS)) as session:
            return await send(root, session)

    async def story() -> list[Outcome]:
        return list(await asyncio.gather(one(), one()))

    outcomes = asyncio.run(story())
    assert any(outcome.error is None for outcome in outcomes)
    assert (asyncio.run(one())).kind == "already"
    assert ceph.reader().contents(f"{prefix}/") == {"big": content(BIG, 5)}


def test_what_nobody_came_back_for_is_swept_away(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    async def begin(session: S3Session, name: str, size: int) -> None:
        with Cargo(tmp_path / "src", name, content(size)) as cargo:
            good(await session.write([cargo.piece(await cargo.stage(session))]))

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS).connect() as session:
            await begin(session, "large", 3 * MIB)
            await begin(session, "small", 10)
        assert len(staged(ceph.reader(), prefix)) == 3
        async with ceph.transport(prefix, LIMITS).connect() as session:
            assert await session.sweep(time.time() - KEPT) == 0
            assert await session.sweep(time.time() + 60) == 2

    asyncio.run(story())
    assert staged(ceph.reader(), prefix) == []


def test_an_object_that_is_too_large_to_be_copied_at_once_is_copied_in_parts(
    ceph: Ceph, liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ceph 16 decodes the source of a part twice, so that names with % are not found; it needs no parts for a copy.
    prefix = "copied in parts"
    monkeypatch.setattr(final, "LARGEST_COPY", 4 * MIB)
    monkeypatch.setattr(final, "COPIED_PART", 5 * MIB)
    root = source(tmp_path)
    too_large = b"<Error><Code>InvalidRequest</Code></Error>"

    def whole(method: str, path: str) -> bool:
        return method == "PUT" and path.endswith("/big")

    async def story() -> None:
        liar.order(Lie("refuse", whole, 2, 400, too_large))
        liar.order(Lie("refuse", lambda method, path: "/big?partNumber=2" in path, 1, 403))
        async with ceph.transport(prefix, LIMITS, liar.url).connect() as session:
            assert isinstance((await send(root, session)).error, Denied)
            assert (await send(root, session)).error is None
            assert (await entries(session))[0].checksum is not None

    asyncio.run(story())
    reader = ceph.reader()
    assert reader.contents(f"{prefix}/") == {"big": content(BIG, 5)}
    assert reader.uploads(f"{prefix}/") == []


def test_what_must_not_be_replaced_is_not(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with ceph.transport(prefix, LIMITS).connect() as session:
            with (
                Cargo(tmp_path / "src", "file", b"old") as old,
                Cargo(tmp_path / "src", "file", b"new", on_exists="fail") as new,
            ):
                one = await new.stage(session)
                await new.write(session, one)
                await new.verify(session, one)
                await old.arrive(session)
                assert isinstance((await session.publish([one.ref]))[0], Conflict)

    asyncio.run(story())
    assert ceph.reader().read(f"{prefix}/file") == b"old"


def test_names_are_changed_without_moving_bytes(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    def change(what: str, path: str, target: str = "") -> Change:
        return Change(what, RemotePath(path), target)  # type: ignore[arg-type]

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS).connect() as session:
            for name in ("a", "old", "folder/b %41", "folder/sub/c"):
                with Cargo(tmp_path / "src", name, name.encode()) as cargo:
                    await cargo.arrive(session)
            changes = [
                change("rename", "new/a", "a"),
                change("remove", "old"),
                change("remove", "old"),
                change("mkdir", "x"),
                change("rmdir", "x"),
                change("rename", "moved", "folder"),
            ]
            assert await session.change(changes) == [None] * len(changes)
            refused = [
                change("rmdir", "moved"),
                change("rename", "x", "nothing"),
                change("rename", "moved", "new/a"),
                change("symlink", "link", "new/a"),
                change("rename", "x", "../x"),
            ]
            kinds = [type(answer) for answer in await session.change(refused)]
            assert kinds == [Conflict, NotFound, Conflict, Refused, Refused]
            assert [one.checksum is not None for one in await entries(session)] == [True] * 3

    asyncio.run(story())
    assert ceph.reader().contents(f"{prefix}/") == {
        "new/a": b"a", "moved/b %41": b"folder/b %41", "moved/sub/c": b"folder/sub/c",
    }  # fmt: skip


def test_objects_of_other_tools_are_listed_read_and_known_again(ceph: Ceph, prefix: str, tmp_path: Path) -> None:
    reader = ceph.reader()
    reader.client.put_object(Bucket="dray", Key=f"{prefix}/a", Body=b"theirs", Metadata={"mtime": "1700000000.5"})
    reader.client.put_object(Bucket="dray", Key=f"{prefix}/folder/", Body=b"")
    reader.client.put_object(Bucket="dray", Key=f"{prefix}/..", Body=b"odd")

    async def story() -> None:
        async with ceph.transport(prefix, LIMITS).connect() as session:
            found = await entries(session)
            assert [(one.path, one.mtime_ns) for one in found] == [("a", 1_700_000_000_500_000_000)]
            assert await read_back(session, found[0], tmp_path) == b"theirs"
            with Cargo(tmp_path / "src", "a", b"theirs") as same:
                assert (await same.stage(session)).done

    asyncio.run(story())
