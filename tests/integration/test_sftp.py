"""Files for an account behind a real sshd, and everything that can go wrong between."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from dray.clock import SystemClock
from dray.errors import (
    Conflict,
    DrayError,
    HostKeyRefused,
    IntegrityFailure,
    NoSpace,
    NotFound,
    Refused,
    Temporary,
    Unauthenticated,
    Unreachable,
    UsageError,
)
from dray.fs import FileRange
from dray.model.names import RemotePath
from dray.model.retry import Persistence
from dray.model.values import Change, Limits, Ref
from dray.moving.move import move
from dray.moving.source import LocalFiles
from dray.transports.base import Piece
from dray.transports.sftp import pipe
from dray.transports.sftp.session import Sftp, SftpSession
from dray.transports.sftp.settings import SftpSettings
from dray.transports.sftp.shell import Shell
from dray.transports.wrappers import Retrying
from tests.contract.cargo import Cargo, content, entries, good, local_item, read_back
from tests.contract.test_transport import HOSTILE
from tests.faults.small_disk import small_disk
from tests.servers.sshd import HOST, Sshd, descendants, sshd

PIECE = 1 << 20
LIMITS = Limits(piece=PIECE, in_flight=2)
MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as found:
        yield found


@pytest.fixture(scope="module")
def only() -> Iterator[Sshd]:
    """An account that is forced to SFTP."""
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base), only_sftp=True) as found:
        yield found


def place(server: Sshd, root: Path, **more: object) -> Sftp:
    return Sftp(server.settings(root, **{"limits": LIMITS, **more}))


@asynccontextmanager
async def session_at(server: Sshd, root: Path, **more: object) -> AsyncIterator[SftpSession]:
    async with place(server, root, **more).connect() as session:
        yield session


def is_ssh(pid: int) -> bool:
    """Say whether a process is a client of ssh."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ssh\0")
    return False


def ssh_children() -> list[int]:
    """Return the processes of ssh that this test runs."""
    return [pid for pid in descendants(os.getpid()) if is_ssh(pid)]


async def until(ready: Callable[[], bool]) -> None:
    while not ready():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def staged_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob(".dray/staging/*/*.staged"))


def files_below(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and ".dray" not in path.relative_to(root).parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


# What a proof says


def proof_of(server: Sshd, base: Path, **more: object) -> tuple[str, str]:
    async def story() -> tuple[str, str]:
        async with session_at(server, base / "place", **more) as session:
            with Cargo(base, "f", content(5000)) as cargo:
                staged = await cargo.stage(session)
                await cargo.write(session, staged)
                proof = await cargo.verify(session, staged)
                return proof.by, proof.level

    return asyncio.run(story())


def test_a_proof_says_how_it_came_about(server: Sshd, only: Sshd, tmp_path: Path) -> None:
    assert proof_of(server, tmp_path / "a") == ("sha256 at cluster", "durable")
    assert proof_of(server, tmp_path / "b", verify="read") == ("read back from cluster", "durable")
    assert proof_of(only, tmp_path / "c") == ("read back from cluster", "durable")
    assert proof_of(server, tmp_path / "d", verify="size") == ("size at cluster, not read", "durable")
    assert proof_of(server, tmp_path / "e", durable=False) == ("sha256 at cluster", "service")


def test_who_asks_for_a_remote_digest_gets_no_other_proof(only: Sshd, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no shell"):
        proof_of(only, tmp_path, verify="remote")


def test_damage_at_the_destination_is_found_either_way(server: Sshd, only: Sshd, tmp_path: Path) -> None:
    async def story(host: Sshd, base: Path) -> None:
        base.mkdir()
        (base / "f").write_bytes(content(3000))
        async with session_at(host, base / "place") as session:

            class Damaging(Retrying):
                async def verify(self, claims):  # type: ignore[no-untyped-def]
                    staged = next((base / "place").glob(".dray/staging/*/*.staged"))
                    staged.write_bytes(b"?" + staged.read_bytes()[1:])
                    return await session.verify(claims)

            damaging = Damaging(session, SystemClock())
            outcome = (await move([local_item(base, "f")], LocalFiles(base), damaging))[0]
            assert outcome.kind == "failed"
            assert getattr(outcome.error, "code", "") == "integrity"
        assert files_below(base / "place") == {}

    asyncio.run(story(server, tmp_path / "shell"))
    asyncio.run(story(only, tmp_path / "only"))


def test_hostile_names_are_known_again_by_their_digests(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        # Even the directory they are in has a name that is no UTF-8.
        async with session_at(server, tmp_path / "\udcff 'quote\n-rf") as session:
            cargoes = [Cargo(tmp_path / "src", name, name.encode() * 3) for name in HOSTILE]
            for cargo in cargoes:
                await cargo.arrive(session)
            again = good(await session.stage([cargo.landing() for cargo in cargoes]))
            assert all(one.done for one in again)
            proofs = await session.verify([cargo.claim(one.ref) for cargo, one in zip(cargoes, again, strict=True)])
            assert {proof.by for proof in good(proofs)} == {"sha256 at cluster"}
            for cargo in cargoes:
                cargo.__exit__()

    asyncio.run(story())


def test_names_that_are_no_utf8_are_no_entries(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "place" / "\udcfe").mkdir(parents=True)
    (tmp_path / "place" / "\udcff").write_text("x")
    (tmp_path / "place" / "link").symlink_to("/etc/passwd")
    (tmp_path / "place" / "good").write_text("x")

    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            assert [entry.path for entry in await entries(session)] == ["good"]

    asyncio.run(story())


# What breaks


def test_a_killed_ssh_is_a_failure_that_may_pass_and_the_session_goes_on(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            # Nothing in the background is to find out first.
            session._site._warm = True
            with Cargo(tmp_path / "src", "f", content(1000)) as cargo:
                staged = await cargo.stage(session)
                kill_ssh()
                with pytest.raises(Unreachable):
                    await cargo.write(session, staged)
                await cargo.write(session, staged)
                await cargo.verify(session, staged)
                kill_ssh()
                with pytest.raises(Unreachable):
                    await session.publish([staged.ref])
                good(await session.publish([staged.ref]))

    asyncio.run(story())
    assert files_below(tmp_path / "place") == {"f": content(1000)}


def kill_ssh() -> None:
    for pid in ssh_children():
        os.kill(pid, signal.SIGKILL)


def test_a_large_file_goes_on_from_the_parts_that_arrived(server: Sshd, tmp_path: Path) -> None:
    size = 24 * MIB + 5
    (tmp_path / "large").write_bytes(os.urandom(size))
    sent: list[int] = []

    async def first() -> None:
        async with session_at(server, tmp_path / "place") as session:
            running = asyncio.create_task(move([local_item(tmp_path, "large")], LocalFiles(tmp_path), session))
            await until(lambda: staged_bytes(tmp_path / "place") > 6 * MIB)
            server.cut()
            outcome = (await running)[0]
            assert isinstance(outcome.error, Unreachable)

    class Counting(Retrying):
        async def write(self, pieces):  # type: ignore[no-untyped-def]
            sent.extend(piece.number for piece in pieces)
            return await super().write(pieces)

    async def second() -> None:
        async with session_at(server, tmp_path / "place") as session:
            counting = Counting(session, SystemClock())
            assert (await move([local_item(tmp_path, "large")], LocalFiles(tmp_path), counting))[0].error is None

    asyncio.run(first())
    asyncio.run(second())
    assert 0 < len(sent) < 25, "it began at byte 0"
    assert files_below(tmp_path / "place")["large"] == (tmp_path / "large").read_bytes()
    assert list((tmp_path / "place").glob(".dray/staging/*/*")) == []


def test_a_server_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    async def story(server: Sshd) -> None:
        reasons: list[str] = []
        async with session_at(server, tmp_path / "place") as session:
            patient = Retrying(
                session, SystemClock(), lambda error, delay: reasons.append(str(error)), Persistence(60.0, 0.5)
            )
            with Cargo(tmp_path / "src", "before", content(1000)) as cargo:
                await cargo.arrive(patient)
            server.stop()
            with Cargo(tmp_path / "src", "after", content(2000)) as cargo:
                running = asyncio.create_task(cargo.arrive(patient))
                await until(lambda: len(reasons) > 1)
                server.start()
                await running
        assert any("refused" in reason for reason in reasons), reasons

    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as server:
        asyncio.run(story(server))
    assert files_below(tmp_path / "place") == {"before": content(1000), "after": content(2000)}


def test_a_server_that_stands_still_is_given_up(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place", stall=0.5, verify="read") as session:
            with Cargo(tmp_path / "src", "f", content(1000)) as cargo:
                await cargo.stage(session)
                server.freeze()
                try:
                    with pytest.raises(Unreachable, match="no answer"):
                        await cargo.stage(session)
                finally:
                    server.freeze(thaw=True)
                await cargo.arrive(session)

    asyncio.run(story())


def test_a_cancelled_call_ends_at_once_and_hurts_no_other(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            with Cargo(tmp_path / "src", "f", content(1000)) as cargo:
                await cargo.stage(session)
                server.freeze()
                try:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(cargo.stage(session), 0.3)
                finally:
                    server.freeze(thaw=True)
                await cargo.arrive(session)

    asyncio.run(story())


def test_a_connection_that_does_not_come_about_is_given_up_when_nobody_waits(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host {HOST}\n  ProxyCommand sleep 600\n")

    async def story() -> None:
        settings = SftpSettings(HOST, config_file=str(config))

        async def connected() -> None:
            async with Sftp(settings).connect():
                raise AssertionError("it connected")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connected(), 1.0)

    asyncio.run(story())
    no_ssh_is_left()


def test_a_full_disk_is_told_and_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async def story(server: Sshd, root: Path, leave: Callable[[int], int]) -> None:
        async with session_at(server, root) as session:
            for size in (300_000, 3 * MIB):
                with Cargo(tmp_path / "src", f"f{size}", content(size)) as cargo:
                    staged = await cargo.stage(session)
                    leave(100_000)
                    answers = await session.write([cargo.pieces(staged)[0]])
                    assert isinstance(answers[0], NoSpace), answers
                    leave(6 * MIB)
                    await cargo.write(session, await cargo.stage(session))
                    await cargo.verify(session, staged)
                    good(await session.publish([staged.ref]))

        async with session_at(server, root) as session:
            leave(0)
            explained = session._site.explained(Temporary("it failed"))
            assert isinstance(explained, NoSpace)
            assert "No space left on device" in str(explained)

    with (
        small_disk(tmp_path / "disk", 8 * MIB) as disk,
        TemporaryDirectory(prefix="sshd-") as base,
        sshd(Path(base), inside=disk.prefix) as server,
    ):
        asyncio.run(story(server, disk.inside / "place", disk.leave))
        found = files_below(disk.outside / "place")
    assert found == {"f300000": content(300_000), f"f{3 * MIB}": content(3 * MIB)}


def test_two_sessions_bring_the_same_files_at_once(server: Sshd, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(40):
        (source / f"f{number}").write_bytes(content(1000, number))
    (source / "large").write_bytes(content(5 * MIB))
    names = [path.name for path in source.iterdir()]

    async def one() -> None:
        async with session_at(server, tmp_path / "place", keep_older=False) as session:
            items = [local_item(source, name) for name in names]
            assert [outcome.error for outcome in await move(items, LocalFiles(source), session)] == [None] * len(items)

    async def story() -> None:
        await asyncio.gather(one(), one())

    asyncio.run(story())
    assert files_below(tmp_path / "place") == {name: (source / name).read_bytes() for name in names}
    assert list((tmp_path / "place").glob(".dray/staging/*/*")) == []


# Who it is


def failure_of(server: Sshd, root: Path, **more: object) -> DrayError:
    async def story() -> DrayError:
        try:
            async with session_at(server, root, **more):
                raise AssertionError("it connected")
        except DrayError as error:
            return error

    return asyncio.run(story())


def test_a_host_whose_key_changed_is_refused_and_gets_nothing(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as server:
        server.change_key()
        error = failure_of(server, tmp_path / "place")
        assert isinstance(error, HostKeyRefused)
        assert "another one" in str(error)
        assert server.fingerprint() in str(error)
        assert f"dray host trust {HOST}" in str(error)
        (Path(base) / "known_hosts").write_text("")
        error = failure_of(server, tmp_path / "place")
        assert isinstance(error, HostKeyRefused)
        assert "not trusted yet" in str(error)
        assert server.fingerprint() in str(error)
        assert "Accepted" not in server.process.tail()
    assert not (tmp_path / "place").exists()


def test_a_key_that_is_not_taken_is_told(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as server:
        (Path(base) / "id.pub").write_text("")
        error = failure_of(server, tmp_path)
        assert isinstance(error, Unauthenticated)
        assert "Permission denied" in str(error)
        server.stop()
        error = failure_of(server, tmp_path)
        assert isinstance(error, Unreachable)
        assert "refused" in str(error)
        server.config.write_text("Nonsense yes\n")
        error = failure_of(server, tmp_path)
        assert isinstance(error, UsageError)
        assert "nonsense" in str(error)


def test_an_account_that_prints_at_login_is_told(tmp_path: Path) -> None:
    with (
        TemporaryDirectory(prefix="sshd-") as base,
        sshd(Path(base), more="ForceCommand echo Welcome; cat\n") as server,
    ):
        error = failure_of(server, tmp_path)
        assert "no SFTP" in str(error)
        assert "Welcome" in str(error)


def test_what_ssh_says_is_in_the_error(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as server:
        server.config.write_text(f"Host {HOST}\n  HostName nowhere.invalid\n")
        error = failure_of(server, tmp_path)
        assert isinstance(error, Unreachable)
        assert "resolve hostname nowhere.invalid" in str(error)


def test_hosts_behind_others_and_open_connections_are_used_as_ssh_does(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    behind = f"Host behind\n  HostName localhost\n  HostKeyAlias [127.0.0.1]:{server.port}\n  Port {server.port}\n"
    own = f"  IdentityFile {server.base}/id\n  UserKnownHostsFile {server.base}/known_hosts\n  ProxyJump {HOST}\n"
    config.write_text(f"{behind}{own}\n{server.config.read_text()}")

    async def story(host: str) -> None:
        settings = SftpSettings(host, path=str(tmp_path / host), config_file=str(config), limits=LIMITS)
        async with Sftp(settings).connect() as session:
            with Cargo(tmp_path / "src", "f", content(3 * PIECE)) as cargo:
                await cargo.arrive(session)

    asyncio.run(story("behind"))
    no_ssh_is_left()
    with server.master():
        before = server.process.tail(10**6).count("Accepted")
        asyncio.run(story(HOST))
        assert server.process.tail(10**6).count("Accepted") == before
    assert files_below(tmp_path / "behind") == files_below(tmp_path / HOST) == {"f": content(3 * PIECE)}


# What it leaves


def test_modes_times_and_folders_are_as_asked_for(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place", file_mode=0o600, folder_mode=0o700) as session:
            for size in (10, 3 * PIECE):
                with Cargo(tmp_path / "src", f"a/b/{size}", content(size)) as cargo:
                    await cargo.arrive(session)

    asyncio.run(story())
    for size in (10, 3 * PIECE):
        seen = (tmp_path / "place" / "a" / "b" / str(size)).stat()
        assert (seen.st_mode & 0o777, int(seen.st_mtime)) == (0o600, 1_700_000_000)
    assert (tmp_path / "place" / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_modes_of_the_source_are_kept_even_those_that_forbid_writing(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place", keep_mode=True) as session:
            for name, size, mode in (("a", 10, 0o444), ("b", 3 * PIECE, 0o4551)):
                (tmp_path / name).write_bytes(content(size))
                (tmp_path / name).chmod(mode)
                found = (tmp_path / name).stat()
                item = msgspec.structs.replace(local_item(tmp_path, name), mode=found.st_mode)
                assert (await move([item], LocalFiles(tmp_path), session))[0].error is None

    asyncio.run(story())
    modes = [(tmp_path / "place" / name).stat().st_mode & 0o7777 for name in ("a", "b")]
    assert modes == [0o444, 0o551]


def test_newer_content_replaces_or_keeps_the_older(server: Sshd, tmp_path: Path) -> None:
    async def story(root: Path, *, keep: bool) -> None:
        async with session_at(server, root, keep_older=keep) as session:
            for seed in (1, 2):
                with Cargo(tmp_path / "src", "f", content(100, seed)) as cargo:
                    entry = await cargo.arrive(session)
            assert await read_back(session, entry, tmp_path) == content(100, 2)

    asyncio.run(story(tmp_path / "a", keep=False))
    asyncio.run(story(tmp_path / "b", keep=True))
    assert list((tmp_path / "a").glob(".dray/versions/*/*/*")) == []
    # Same size and same second, which is all that SFTP can tell.
    assert [kept.read_bytes() for kept in (tmp_path / "b").glob(".dray/versions/*/*/*")] == [content(100, 1)]


def test_a_folder_that_was_removed_meanwhile_is_made_again(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            with Cargo(tmp_path / "src", "a/1", b"1") as cargo:
                await cargo.arrive(session)
            (tmp_path / "place" / "a" / "1").unlink()
            (tmp_path / "place" / "a").rmdir()
            with Cargo(tmp_path / "src", "a/2", b"2") as cargo:
                await cargo.arrive(session)

    asyncio.run(story())
    assert files_below(tmp_path / "place") == {"a/2": b"2"}


def test_the_folder_of_what_is_staged_may_be_removed_at_any_time(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            patient = Retrying(session, SystemClock(), persistence=Persistence(20.0, 0.1))
            with Cargo(tmp_path / "src", "a", b"1") as cargo:
                staged = await cargo.stage(patient)
                shutil.rmtree(tmp_path / "place")
                await cargo.write(patient, staged)
                await cargo.verify(patient, staged)
                good(await patient.publish([staged.ref]))

    asyncio.run(story())
    assert files_below(tmp_path / "place") == {"a": b"1"}


@pytest.mark.parametrize("moment", ["write", "verify", "publish"])
def test_a_file_whose_staged_bytes_somebody_removed_is_sent_anew(server: Sshd, tmp_path: Path, moment: str) -> None:
    (tmp_path / "large").write_bytes(content(3 * PIECE + 5))

    class Removing(Retrying):
        async def around(self, name, call, items):  # type: ignore[no-untyped-def]
            if name == moment and (name != "write" or items[0].number == 3):
                shutil.rmtree(tmp_path / "place", ignore_errors=True)
            return await super().around(name, call, items)

    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            item = local_item(tmp_path, "large")
            error = (await move([item], LocalFiles(tmp_path), Removing(session, SystemClock())))[0].error
            # Not NotFound: that would be for good.
            assert isinstance(error, IntegrityFailure), error
            assert (await move([item], LocalFiles(tmp_path), session))[0].error is None

    asyncio.run(story())
    assert files_below(tmp_path / "place") == {"large": content(3 * PIECE + 5)}


def test_a_place_that_is_no_directory_is_told(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    async def story() -> None:
        async with session_at(server, tmp_path / "file") as session:
            with Cargo(tmp_path / "src", "a", b"1") as cargo, pytest.raises(DrayError) as caught:
                await cargo.stage(session)
            assert caught.value.code in ("denied", "conflict")

    asyncio.run(story())
    assert (tmp_path / "file").read_text() == "x"


def test_names_are_changed_without_moving_bytes(server: Sshd, tmp_path: Path) -> None:
    root = tmp_path / "place"

    def path(text: str) -> RemotePath:
        return RemotePath(text)

    async def story() -> None:
        async with session_at(server, root) as session:
            with Cargo(tmp_path / "src", "old", b"1") as cargo:
                await cargo.arrive(session)
            changes: Sequence[Change] = [
                Change("mkdir", path("empty/below")),
                Change("mkdir", path("empty/below")),
                Change("rename", path("new/name"), "old"),
                Change("symlink", path("link"), "new/name"),
                Change("symlink", path("link"), "new/name"),
                Change("symlink", path("link"), "else\nwhere"),
                Change("rmdir", path("empty/below")),
                Change("rmdir", path("empty/below")),
                Change("remove", path("nothing")),
            ]
            assert good(await session.change(changes)) == [None] * len(changes)
            refused = await session.change(
                [
                    Change("rmdir", path("new")),
                    Change("rename", path("x"), "old"),
                    Change("rename", path("empty"), "new/name"),
                    Change("rename", path("x"), "../out"),
                    Change("symlink", path("empty"), "x"),
                ]
            )
            assert [type(one) for one in refused] == [Conflict, NotFound, Conflict, Refused, Conflict]

    asyncio.run(story())
    assert (root / "new" / "name").read_bytes() == b"1"
    assert os.readlink(root / "link") == "else\nwhere"
    assert sorted(one.name for one in root.iterdir()) == [".dray", "empty", "link", "new"]


def test_it_works_where_pipes_can_only_be_read_by_threads(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pipe.select, "poll")
    monkeypatch.delattr(pipe.os, "sendfile")

    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            for size in (0, 1000, 3 * PIECE + 1):
                with Cargo(tmp_path / "src", f"f{size}", content(size)) as cargo:
                    assert await read_back(session, await cargo.arrive(session), tmp_path) == content(size)

    asyncio.run(story())


def test_a_file_that_becomes_shorter_while_it_is_sent_breaks_nothing(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            with Cargo(tmp_path / "src", "f", content(PIECE)) as cargo, (tmp_path / "short").open("w+b") as short:
                staged = await cargo.stage(session)
                short.write(content(PIECE // 2))
                short.flush()
                answers = await session.write([Piece(staged.ref, 1, 0, FileRange(short.fileno(), 0, PIECE))])
                assert getattr(answers[0], "code", "") == "source-changed"
                assert isinstance((await session.write([Piece(Ref("?"), 1, 0, FileRange(0, 0, 0))]))[0], DrayError)
                await cargo.arrive(session)

    asyncio.run(story())
    assert files_below(tmp_path / "place") == {"f": content(PIECE)}


def test_an_idle_session_leaves_no_process(server: Sshd, tmp_path: Path) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            with Cargo(tmp_path / "src", "f", b"x") as cargo:
                await cargo.arrive(session)

    asyncio.run(story())
    no_ssh_is_left()


def no_ssh_is_left() -> None:
    deadline = time.monotonic() + 20
    while ssh_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ssh_children() == []


def test_what_nobody_came_back_for_is_swept_away(server: Sshd, tmp_path: Path) -> None:
    staging = tmp_path / "place" / ".dray" / "staging" / "0"
    staging.mkdir(parents=True)
    for name, age in (("old.staged", 15), ("old.staged.parts", 15), ("young.staged", 13)):
        (staging / name).write_text("x")
        then = time.time() - age * 86400
        os.utime(staging / name, (then, then))

    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            with Cargo(tmp_path / "src", "f", b"x") as cargo:
                staged = await cargo.stage(session)
                await until(lambda: not (staging / "old.staged").exists())
                await cargo.write(session, staged)
                # Its time is that of the source, years ago; it is not swept for that.
                (mine,) = [path for path in staging.parent.glob("*/*.staged") if path.name != "young.staged"]
                assert (mine.stat().st_mtime, time.time() - mine.stat().st_atime < 3600) == (1_700_000_000, True)

    asyncio.run(story())
    assert {path.name for path in staging.iterdir()} >= {"young.staged"}
    assert not (staging / "old.staged.parts").exists()


def test_a_shell_that_sees_another_directory_is_no_shell(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with session_at(server, tmp_path / "place") as session:
            with Cargo(tmp_path / "src", "f", b"x") as cargo:
                staged = await cargo.stage(session)
                await cargo.write(session, staged)
                # As where only SFTP is locked into a directory.
                shell = session._site._with_shell
                monkeypatch.setattr(Shell, "_sync", lambda self, folder, words: self._ask_in(b"/nowhere", b"true"))
                assert shell(lambda one: one.can_sync)
                assert (await cargo.verify(session, staged)).by == "read back from cluster"

    asyncio.run(story())


def test_an_agent_that_is_killed_leaves_no_ssh(server: Sshd, tmp_path: Path) -> None:
    script = f"""
import asyncio, time
from tests.integration.test_sftp import *
from dray.transports.sftp.settings import SftpSettings

PLACE = SftpSettings({HOST!r}, path={str(tmp_path / "place")!r}, config_file={str(server.config)!r})

async def story():
    async with Sftp(PLACE).connect() as session:
        with Cargo(Path({str(tmp_path / "src")!r}), "f", b"x") as cargo:
            await cargo.arrive(session)
            print("arrived", flush=True)
            time.sleep(600)

asyncio.run(story())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"arrived\n"
        mine = [pid for pid in descendants(child.pid) if is_ssh(pid)]
        assert len(mine) >= 2
    finally:
        child.kill()
        child.communicate()
    deadline = time.monotonic() + 20
    while any(map(is_ssh, mine)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_ssh, mine))
