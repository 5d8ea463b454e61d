"""What a hot directory does when the destination, the source, the clock or the agent itself fails."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from dray.agent.journal import Journal
from dray.clock import SystemClock
from dray.errors import Busy, Denied, DrayError, IntegrityFailure, NoSpace, Refused, Unreachable
from dray.model.values import Claim, Entry, Landing, Proof, Receipt, Ref, Staged
from dray.transports.base import Failure, Piece, Session
from dray.transports.wrappers import Wrapper
from tests.integration.hot import Hot, until

FILES = {f"f{number}.dat": f"content {number}".encode() for number in range(5)}


def drop(root: Path, files: dict[str, bytes] = FILES) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / f".{name}").write_bytes(content)
        (root / f".{name}").rename(root / name)


class Failing(Wrapper):
    """Fails a call as a whole as long as there are failures left."""

    def __init__(self, inner: Session, failures: list[DrayError], name: str = "stage") -> None:
        super().__init__(inner)
        self.failures, self.name = failures, name

    async def around(self, name, call, items):  # type: ignore[no-untyped-def]
        if name == self.name and self.failures:
            raise self.failures.pop()
        return await call(items)


@pytest.mark.parametrize("name", ["stage", "write", "verify", "publish"])
def test_a_destination_that_fails_for_a_time_pauses_everything_for_one_reason(tmp_path: Path, name: str) -> None:
    failures: list[DrayError] = [Unreachable("no answer"), NoSpace("disk full")]

    async def story() -> None:
        async with Hot(tmp_path, wrap=lambda session: Failing(session, failures, name)).running() as hot:
            drop(hot.root)
            await hot.delivered(FILES)
            assert not failures
            assert [reason.partition(";")[0].partition(": ")[2] for reason in hot.told.reasons] == [
                "disk full",
                "no answer",
            ]
            assert [outcome.kind for outcome in hot.told.outcomes if outcome.error] == []
            assert hot.versions() == 0

    asyncio.run(story())


def test_a_run_that_is_to_end_gives_up_on_a_destination_and_keeps_everything_queued(tmp_path: Path) -> None:
    failures: list[DrayError] = [Denied("no right to write here") for _ in range(9)]
    hot = Hot(tmp_path, wrap=lambda session: Failing(session, failures))
    drop(hot.root)
    summary = hot.once()
    assert isinstance(summary.trouble, Denied)
    assert set(hot.states().values()) == {"queued"}
    assert "no right to write here" in hot.reason("f0.dat")
    failures.clear()
    assert hot.once().trouble is None
    assert hot.stored() == FILES


class Refusing(Wrapper):
    """Refuses one path for good."""

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        answers = await self.inner.stage(landings)
        return [Refused("not wanted") if one.path == "f0.dat" else a for one, a in zip(landings, answers, strict=True)]


def test_a_file_that_is_refused_fails_alone_with_its_reason_until_it_changes(tmp_path: Path) -> None:
    hot = Hot(tmp_path, wrap=Refusing)
    drop(hot.root)
    hot.once()
    assert {name: state for name, state in hot.states().items() if state != "delivered"} == {"f0.dat": "failed"}
    assert "not wanted" in hot.reason("f0.dat")
    assert [str(o.path) for o in hot.told.outcomes if o.kind == "failed"] == ["f0.dat"]
    hot.wrap = Wrapper
    hot.once()
    assert hot.stored() == FILES


class Stuck(Wrapper):
    """Never answers for one large file."""

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        if any(piece.at.length > 1000 for piece in pieces):
            await asyncio.Event().wait()
        return await self.inner.write(pieces)


def test_a_file_that_is_stuck_does_not_keep_others_from_arriving(tmp_path: Path) -> None:
    async def story() -> None:
        hot = Hot(tmp_path, wrap=Stuck)
        agent = asyncio.create_task(run_for_ever(hot))
        drop(hot.root, {"big.dat": b"x" * 2000})
        await until(lambda: hot.noted("rules") and hot.states().get("big.dat") == "sending")
        for name, content in FILES.items():
            drop(hot.root, {name: content})
            await hot.delivered({n: c for n, c in FILES.items() if n <= name})
        agent.cancel()
        await asyncio.gather(agent, return_exceptions=True)
        hot.wrap = Wrapper
        await asyncio.to_thread(hot.once)
        assert hot.stored() == {**FILES, "big.dat": b"x" * 2000}

    asyncio.run(story())


async def run_for_ever(hot: Hot) -> None:
    from dray.agent.watch import watch

    hot.root.mkdir(parents=True, exist_ok=True)
    await watch(hot.directory(), hot.lane(), hot.told, asyncio.Event(), hot.clock)


class Damaging(Wrapper):
    """Says that other bytes were stored, for a number of times."""

    def __init__(self, inner: Session, left: list[int]) -> None:
        super().__init__(inner)
        self.left = left

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        answers = await self.inner.verify(claims)
        if not self.left:
            return answers
        self.left.pop()
        return [IntegrityFailure("other bytes are stored") for _ in answers]


def test_a_file_that_arrived_damaged_is_sent_again(tmp_path: Path) -> None:
    left = [1]

    async def story() -> None:
        async with Hot(tmp_path, wrap=lambda session: Damaging(session, left)).running() as hot:
            drop(hot.root, {"a.dat": b"good"})
            await hot.delivered({"a.dat": b"good"})
            assert not left

    asyncio.run(story())


class Meddling(Wrapper):
    """Changes the source whenever something is staged, for a number of times."""

    def __init__(self, inner: Session, change: Callable[[], None], left: list[int]) -> None:
        super().__init__(inner)
        self.change, self.left = change, left

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        if self.left:
            self.left.pop()
            self.change()
        return await self.inner.stage(landings)


@pytest.mark.parametrize("size", [1000, 5 << 20])
def test_a_source_that_changes_while_it_is_sent_arrives_as_one_of_its_versions(tmp_path: Path, size: int) -> None:
    left = [1, 2]
    versions = [bytes([number]) * size for number in range(3)]

    async def story() -> None:
        def change() -> None:
            stat = (hot.root / "a.dat").stat()
            (hot.root / "a.dat").write_bytes(versions[2 - len(left)])
            os.utime(hot.root / "a.dat", ns=(stat.st_atime_ns, stat.st_mtime_ns))

        hot = Hot(tmp_path, wrap=lambda session: Meddling(session, change, left))
        async with hot.running():
            drop(hot.root, {"a.dat": versions[0]})
            await until(lambda: not left)
            await hot.delivered({"a.dat": versions[2]})
        kept = [path.read_bytes() for path in (hot.store / ".dray" / "versions").rglob("*") if path.is_file()]
        assert all(content in versions for content in kept)

    asyncio.run(story())


class Jumping(SystemClock):
    """A wall clock that is set while it runs."""

    offset = 0.0

    def wall(self) -> float:
        return super().wall() + self.offset


class BusyOnce(Wrapper):
    """Is busy once for each file, after the clock was set."""

    def __init__(self, inner: Session, jump: Callable[[], None], seen: set[str]) -> None:
        super().__init__(inner)
        self.jump, self.seen = jump, seen

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        new = {str(one.path) for one in landings} - self.seen
        self.seen |= new
        answers = await self.inner.stage(landings)
        if new:
            asyncio.get_running_loop().call_later(0.2, self.jump)
        return [Busy("taken") if str(o.path) in new else a for o, a in zip(landings, answers, strict=True)]


@pytest.mark.parametrize("offset", [-3600.0, -86400.0 * 365, 86400.0 * 365])
def test_a_clock_that_is_set_neither_loses_nor_delays_a_retry_for_ever(tmp_path: Path, offset: float) -> None:
    clock = Jumping()

    def jump() -> None:
        clock.offset = offset

    async def story() -> None:
        seen: set[str] = set()
        hot = Hot(tmp_path, wrap=lambda session: BusyOnce(session, jump, seen), clock=clock, rescan=0.5)
        async with hot.running():
            drop(hot.root, {"a.dat": b"a"})
            await hot.delivered({"a.dat": b"a"})

    asyncio.run(story())


class NoConnection:
    """A place that cannot even be connected to, for a number of times."""

    def __init__(self, hot: Hot, left: list[int]) -> None:
        self.inner, self.left = hot.lane().transport, left

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        if self.left:
            self.left.pop()
            raise Unreachable("nobody listens", item="http://127.0.0.1:1")
        async with self.inner.connect() as session:
            yield session


def test_a_server_that_is_not_up_yet_is_waited_for(tmp_path: Path) -> None:
    from dray.agent.send import Lane
    from dray.agent.watch import watch_once

    hot, left = Hot(tmp_path), [1, 2]
    drop(hot.root)

    async def story() -> None:
        lane = Lane(NoConnection(hot, left))
        await watch_once(hot.directory(), lane, hot.told, asyncio.Event(), hot.clock)

    asyncio.run(story())
    assert hot.stored() == FILES
    assert len([reason for reason in hot.told.reasons if "nobody listens" in reason]) == 2


def test_a_full_disk_under_the_journal_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, full = Journal.transaction, [False]

    @contextmanager
    def transaction(self: Journal) -> Iterator[None]:
        with plain(self):
            yield
            if full[0]:
                raise NoSpace("no space left for the journal")

    monkeypatch.setattr(Journal, "transaction", transaction)
    monkeypatch.setattr("dray.agent.send.SPACE", 0.2)
    monkeypatch.setattr("dray.agent.agent.SPACE", 0.2)

    async def story() -> None:
        async with Hot(tmp_path, wrap=lambda session: Filling(session, full)).running() as hot:
            drop(hot.root)
            for _ in range(2):
                await until(lambda: any("journal" in reason for reason in hot.told.reasons))
                hot.told.reasons.clear()
                drop(hot.root, {"late.dat": b"late"})
            full[0] = False
            await hot.delivered({**FILES, "late.dat": b"late"})
            assert hot.versions() == 0

    asyncio.run(story())


class Filling(Wrapper):
    """Fills the disk under the journal once everything is stored."""

    def __init__(self, inner: Session, full: list[bool]) -> None:
        super().__init__(inner)
        self.full = full

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        self.full[0] = not self.full[1:]
        self.full.append(True)
        return await self.inner.publish(staged)


CRASHING = """
import os, sys
from pathlib import Path
from dray.agent.journal import Journal
from tests.integration.hot import Hot
from tests.integration.test_watch_faults import drop

base, commits = Path(sys.argv[1]), []
plain = Journal.transaction.__wrapped__

def run(crash_at, after):
    from contextlib import contextmanager
    count = 0

    @contextmanager
    def transaction(self):
        nonlocal count
        count += 1
        with contextmanager(plain)(self):
            yield
            if count == crash_at and not after:
                os._exit(9)
        if count == crash_at and after:
            os._exit(9)

    Journal.transaction = transaction
    hot.once()
    os._exit(0)

number, point = 0, 0
while True:
    point += 1
    hot = Hot(base / str(point))
    drop(hot.root)
    codes = []
    for crash_at in (point // 2 + 1, 10_000):
        child = os.fork()
        if not child:
            run(crash_at, point % 2)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(point, *codes, flush=True)
    if codes[0] == 0:
        break
"""


def test_a_crash_around_any_commit_of_the_journal_loses_and_doubles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASHING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    runs = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [codes for _, *codes in runs] == [[9, 0]] * (len(runs) - 1) + [[0, 0]]
    assert len(runs) > 6
    for point, *_ in runs:
        hot = Hot(tmp_path / str(point))
        assert hot.stored() == FILES
        assert set(hot.states().values()) == {"delivered"}
        assert hot.versions() == 0
