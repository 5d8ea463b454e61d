"""The recipe: one outcome an item, nothing accepted that is not the source's, nothing sent twice."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from dray import fs
from dray.errors import (
    Conflict,
    DrayError,
    Forbidden,
    IntegrityFailure,
    PieceDamaged,
    SourceChanged,
    Stopped,
    Unreachable,
)
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Claim, Limits, Outcome, Proof, Receipt
from dray.moving.flow import run
from dray.moving.move import Walk, move, ref
from dray.moving.report import Phase
from dray.moving.source import Item, LocalFiles, RemoteFiles, version_of
from dray.transports.base import Piece, Session
from dray.transports.memory import Memory
from dray.transports.posix import Posix
from dray.transports.wrappers import Wrapper

PIECE = 4096
LIMITS = Limits(piece=PIECE, in_flight=2)
WRONG = Checksum("sha256", "0" * 64)
LARGE = os.urandom(5 * PIECE + 11)


@pytest.fixture
def memory() -> Memory:
    return Memory(LIMITS)


def item(root: Path, path: str, **more: object) -> Item:
    seen = (root / path).stat()
    return Item(RemotePath(path), seen.st_size, version_of(seen).token(), path, mtime_ns=seen.st_mtime_ns, **more)


def written(root: Path, files: dict[str, bytes]) -> list[Item]:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return [item(root, path) for path in files]


def go(
    items: Sequence[Item], root: Path, place: Memory, wrap: Callable[[Session], Session] = lambda s: s
) -> list[Outcome]:
    async def story() -> list[Outcome]:
        async with place.connect() as session:
            return await move(items, LocalFiles(root), wrap(session), Notes.last)

    Notes.last = Notes()
    return asyncio.run(story())


class Notes:
    """Listens to a move."""

    last: "Notes"

    def __init__(self) -> None:
        self.phases: dict[str, list[Phase]] = {}
        self.bytes: dict[str, int] = {}
        self.outcomes: list[Outcome] = []

    def phase(self, path: RemotePath, phase: Phase) -> None:
        self.phases.setdefault(path, []).append(phase)

    def moved(self, path: RemotePath, nbytes: int) -> None:
        self.bytes[path] = self.bytes.get(path, 0) + nbytes

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Sent(Wrapper):
    """Counts what is written, and can do something before."""

    def __init__(self, inner: Session, before: Callable[[Piece], object] = lambda piece: None) -> None:
        super().__init__(inner)
        self.pieces: list[Piece] = []
        self.before = before

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | DrayError]:
        for piece in pieces:
            self.before(piece)
        self.pieces += pieces
        return await self.inner.write(pieces)


def test_small_and_large_files_of_one_batch_arrive_in_their_order(tmp_path: Path, memory: Memory) -> None:
    files = {"z/1": b"one", "large": LARGE, "empty": b"", "a/2": os.urandom(PIECE)}
    outcomes = go(written(tmp_path, files), tmp_path, memory)
    assert [(outcome.path, outcome.kind) for outcome in outcomes] == [(path, "moved") for path in files]
    assert {path: kept.data for path, kept in memory.files.items()} == files
    assert all(o.proof is not None and o.checksum == o.proof.checksum for o in outcomes)


def test_progress_is_told_in_receipted_bytes_and_named_phases(tmp_path: Path, memory: Memory) -> None:
    outcomes = go(written(tmp_path, {"small": b"123", "large": LARGE}), tmp_path, memory)
    assert Notes.last.bytes == {"small": 3, "large": len(LARGE)}
    assert Notes.last.phases == {"small": ["hash", "send", "verify", "publish"], "large": ["send", "verify", "publish"]}
    assert Notes.last.outcomes == outcomes


def test_the_same_move_again_sends_nothing(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"small": b"123", "large": LARGE})
    go(items, tmp_path, memory)
    sent: list[Sent] = []
    outcomes = go(items, tmp_path, memory, lambda session: sent.append(Sent(session)) or sent[0])
    assert [outcome.kind for outcome in outcomes] == ["already", "already"]
    assert sent[0].pieces == []
    assert all(outcome.proof is not None for outcome in outcomes)


def test_held_parts_are_not_sent_again(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"large": LARGE})

    def fail_at_four(piece: Piece) -> None:
        if piece.number == 4:
            raise Unreachable("cut off")

    first = go(items, tmp_path, memory, lambda session: Sent(session, fail_at_four))
    assert isinstance(first[0].error, Unreachable)
    held = {number for staged in memory.staged.values() for number in staged.held}
    assert 1 in held
    sent: list[Sent] = []
    assert go(items, tmp_path, memory, lambda s: sent.append(Sent(s)) or sent[0])[0].kind == "moved"
    assert {piece.number for piece in sent[0].pieces} == {1, 2, 3, 4, 5, 6} - held
    assert Notes.last.bytes == {"large": len(LARGE)}
    assert memory.files["large"].data == LARGE


def test_a_stop_lets_the_parts_on_their_way_arrive_and_the_next_move_goes_on(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"large": LARGE})

    async def story() -> tuple[Outcome, Outcome, list[int]]:
        async with memory.connect() as session:
            stop = asyncio.Event()
            first, second = Sent(session, lambda piece: stop.set()), Sent(session)
            (stopped,) = await move(items, LocalFiles(tmp_path), first, Notes(), stop)
            (moved,) = await move(items, LocalFiles(tmp_path), second, Notes())
            return stopped, moved, sorted(piece.number for piece in first.pieces + second.pieces)

    stopped, moved, numbers = asyncio.run(story())
    assert isinstance(stopped.error, Stopped)
    assert moved.kind == "moved"
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_held_part_that_the_source_does_not_have_is_thrown_away_with_the_rest(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"large": LARGE})

    def fail_at_three(piece: Piece) -> None:
        if piece.number == 3:
            raise Unreachable("cut off")

    go(items, tmp_path, memory, lambda session: Sent(session, fail_at_three))
    for staged in memory.staged.values():
        part = staged.held[1]
        staged.held[1] = type(part)(part.number, part.offset, part.length, part.crc32c ^ 1)
    outcome = go(items, tmp_path, memory)[0]
    assert type(outcome.error) is IntegrityFailure
    assert memory.staged == {}
    assert go(items, tmp_path, memory)[0].kind == "moved"


@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_a_file_that_changed_since_it_was_looked_at_is_not_sent(tmp_path: Path, memory: Memory, size: int) -> None:
    items = written(tmp_path, {"file": LARGE[:size]})
    seen = (tmp_path / "file").stat()
    (tmp_path / "file").write_bytes(LARGE[:size][::-1])
    os.utime(tmp_path / "file", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    outcome = go(items, tmp_path, memory)[0]
    assert isinstance(outcome.error, SourceChanged)
    assert outcome.error.item == "file"
    assert memory.files == {}
    assert memory.staged == {}


@pytest.mark.parametrize("change", ["rewrite", "append", "truncate", "restore"])
def test_a_large_file_that_changes_while_it_is_sent_is_never_published(
    tmp_path: Path, memory: Memory, change: str
) -> None:
    items = written(tmp_path, {"file": LARGE})
    seen = (tmp_path / "file").stat()

    def spoil(piece: Piece) -> None:
        if piece.number == 2:
            with (tmp_path / "file").open("r+b") as file:
                file.seek({"append": len(LARGE)}.get(change, PIECE // 2))
                file.write(b"changed")
                if change == "truncate":
                    file.truncate(PIECE * 3)
            if change == "restore":
                os.utime(tmp_path / "file", ns=(seen.st_atime_ns, seen.st_mtime_ns))

    outcome = go(items, tmp_path, memory, lambda session: Sent(session, spoil))[0]
    assert outcome.kind == "failed"
    assert isinstance(outcome.error, SourceChanged | PieceDamaged)
    assert memory.files == {}
    assert go([item(tmp_path, "file")], tmp_path, memory)[0].kind == "moved"
    assert memory.files["file"].data == (tmp_path / "file").read_bytes()


def test_a_small_file_that_grows_while_it_is_read_is_not_accepted(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = written(tmp_path, {"file": b"x" * 100})
    read_into = fs.read_into

    def growing(fd: int, view: memoryview, offset: int) -> int:
        count = read_into(fd, view, offset)
        with (tmp_path / "file").open("ab") as file:
            file.write(b"more")
        return count

    monkeypatch.setattr(fs, "read_into", growing)
    outcome = go(items, tmp_path, memory)[0]
    assert isinstance(outcome.error, SourceChanged)
    assert memory.files == {}


@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, memory: Memory, size: int) -> None:
    items = written(tmp_path, {"secret": LARGE[:size], "other": b"x"})
    (tmp_path / "secret").chmod(0)
    items = [item(tmp_path, "secret"), items[1]]
    os.chmod(tmp_path, 0o755)
    outcomes = as_nobody(lambda: go(items, tmp_path, memory), tmp_path)
    assert isinstance(outcomes[0].error, Forbidden)
    assert str(outcomes[0].error).startswith("secret: ")
    assert outcomes[1].kind == "moved"


def as_nobody(work: Callable[[], list[Outcome]], root: Path) -> list[Outcome]:
    """Do the work without the rights of root, whom nothing is forbidden."""
    if os.geteuid() != 0:
        return work()
    above = [folder for folder in root.parents if folder.stat().st_mode & 0o005 != 0o005]
    modes = [(folder, folder.stat().st_mode) for folder in above]
    for folder in above:
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        return work()
    finally:
        os.seteuid(0)
        for folder, mode in modes:
            folder.chmod(mode)


def test_links_and_other_things_are_refused_and_named(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"real": b"x"})
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    strange = [Item(RemotePath(name), 1, "v", name) for name in ("link", "pipe", "gone")]
    outcomes = go([*strange, *items], tmp_path, memory)
    assert [outcome.kind for outcome in outcomes] == ["failed"] * 3 + ["moved"]
    assert [outcome.error.item for outcome in outcomes[:3] if isinstance(outcome.error, DrayError)] == [
        "link",
        "pipe",
        "gone",
    ]


class Lying(Wrapper):
    """Proves something else than was claimed."""

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | DrayError]:
        other = [Claim(claim.ref, claim.size + 1, claim.checksum) for claim in claims]
        return [Proof(claim.ref, claim.size, claim.checksum, "", "liar", "durable") for claim in other]


def test_bytes_that_differ_where_they_arrived_are_not_published_but_removed(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"small": b"123", "large": LARGE})
    outcomes = go(items, tmp_path, memory, Lying)
    assert [type(outcome.error) for outcome in outcomes] == [IntegrityFailure, IntegrityFailure]
    assert memory.files == {}
    assert memory.staged == {}


class Broken(Wrapper):
    """Loses the connection in one call."""

    def __init__(self, inner: Session, call: str) -> None:
        super().__init__(inner)
        self.call = call

    async def around(self, name, call, items):  # type: ignore[no-untyped-def]
        if name == self.call:
            raise Unreachable("the line is dead")
        return await call(items)


@pytest.mark.parametrize("call", ["stage", "write", "verify", "publish"])
def test_a_call_that_fails_as_a_whole_is_the_failure_of_each_item(tmp_path: Path, memory: Memory, call: str) -> None:
    items = written(tmp_path, {"one": b"1", "two": b"2", "large": LARGE})
    outcomes = go(items, tmp_path, memory, lambda session: Broken(session, call))
    assert [str(outcome.error) for outcome in outcomes] == [
        f"{name}: the line is dead" for name in ("one", "two", "large")
    ]
    assert go(items, tmp_path, memory)[0].kind == "moved"


def test_one_refused_item_lets_the_others_pass(tmp_path: Path, memory: Memory) -> None:
    go(written(tmp_path, {"a": b"1"}), tmp_path, memory)
    (tmp_path / "a").rename(tmp_path / "moved-away")
    outcomes = go(written(tmp_path, {"a/b": b"2", "c": b"3"}), tmp_path, memory)
    assert isinstance(outcomes[0].error, Conflict)
    assert outcomes[1].kind == "moved"


def test_a_large_file_of_a_size_that_is_there_is_hashed_before_it_is_sent(tmp_path: Path, memory: Memory) -> None:
    go(written(tmp_path, {"file": LARGE}), tmp_path, memory)
    (tmp_path / "file").write_bytes(LARGE[::-1])
    assert go([item(tmp_path, "file")], tmp_path, memory)[0].kind == "moved"
    assert Notes.last.phases["file"] == ["hash", "send", "verify", "publish"]
    assert memory.files["file"].data == LARGE[::-1]
    assert [kept.data for kept in memory.older["file"]] == [LARGE]


# Fetching


def fetch(memory: Memory, into: Path, *, known: bool) -> list[Outcome]:
    async def story() -> list[Outcome]:
        place = Posix(into, limits=LIMITS)
        async with memory.connect() as remote, place.connect() as local:
            found = [entry async for entry in remote.list()]
            proofs = await remote.verify([Claim(e.ref, e.size, WRONG) for e in found])
            checksums = [proof.checksum if known and isinstance(proof, Proof) else None for proof in proofs]
            items = [
                Item(entry.path, entry.size, entry.tag, entry.ref, mtime_ns=entry.mtime_ns, checksum=checksum)
                for entry, checksum in zip(found, checksums, strict=True)
            ]
            return await move(items, RemoteFiles(remote), local)

    return asyncio.run(story())


@pytest.mark.parametrize("known", [True, False])
def test_files_are_fetched_into_a_folder_and_not_again(tmp_path: Path, memory: Memory, known: bool) -> None:
    files = {"small": b"123", "sub/large": LARGE, "empty": b""}
    go(written(tmp_path / "source", files), tmp_path / "source", memory)
    into = tmp_path / "into"
    assert {outcome.kind for outcome in fetch(memory, into, known=known)} == {"moved"}
    assert {path: (into / path).read_bytes() for path in files} == files
    assert (into / "small").stat().st_mtime_ns == (tmp_path / "source" / "small").stat().st_mtime_ns
    assert {outcome.kind for outcome in fetch(memory, into, known=known)} == {"already"}


def test_a_file_that_is_damaged_on_the_way_out_is_not_published(tmp_path: Path, memory: Memory) -> None:
    go(written(tmp_path / "source", {"large": LARGE, "small": b"1"}), tmp_path / "source", memory)

    async def story() -> list[Outcome]:
        async with memory.connect() as remote, Posix(tmp_path / "into", limits=LIMITS).connect() as local:
            found = [entry async for entry in remote.list()]
            items = [Item(e.path, e.size, e.tag, e.ref, checksum=WRONG) for e in found]
            return await move(items, RemoteFiles(remote), local)

    assert [type(outcome.error) for outcome in asyncio.run(story())] == [IntegrityFailure, IntegrityFailure]
    assert not (tmp_path / "into" / "large").exists()
    assert list((tmp_path / "into" / ".dray" / "staging").glob("*/*")) == []


def test_a_place_that_lends_nothing_gets_what_is_fetched_all_the_same(tmp_path: Path, memory: Memory) -> None:
    go(written(tmp_path, {"large": LARGE}), tmp_path, memory)
    other = Memory(LIMITS)

    async def story() -> list[Outcome]:
        async with memory.connect() as remote, other.connect() as session:
            found = [entry async for entry in remote.list()]
            return await move([Item(e.path, e.size, e.tag, e.ref) for e in found], RemoteFiles(remote), session)

    assert [outcome.kind for outcome in asyncio.run(story())] == ["moved"]
    assert other.files["large"].data == LARGE


# Several batches


def test_batches_flow_and_each_ends_on_its_own(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {f"f{n}": bytes([n]) for n in range(20)})

    async def story() -> list[list[Outcome]]:
        async with memory.connect() as session:
            flow = run([items[n : n + 3] for n in range(0, 20, 3)], LocalFiles(tmp_path), session, parallel=2)
            return [outcomes async for outcomes in flow]

    found = asyncio.run(story())
    assert sorted(outcome.path for outcomes in found for outcome in outcomes) == sorted(f"f{n}" for n in range(20))
    assert len(found) == 7


def test_a_stop_lets_running_batches_arrive_and_begins_no_new_one(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {f"f{n}": bytes([n]) for n in range(20)})

    async def story() -> int:
        stop = asyncio.Event()

        async def endless() -> AsyncIterator[list[Item]]:
            for one in items[:5]:
                yield [one]
            stop.set()
            await asyncio.Event().wait()

        async with memory.connect() as session:
            flow = run(endless(), LocalFiles(tmp_path), session, stop=stop)
            return sum([len(outcomes) async for outcomes in flow])

    assert asyncio.run(story()) == len(memory.files)
    assert len(memory.files) >= 4


def test_outcomes_come_while_the_next_batch_is_waited_for(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"one": b"1"})

    async def story() -> list[Outcome]:
        async def one_and_then_nothing() -> AsyncIterator[list[Item]]:
            yield items
            await asyncio.Event().wait()

        async with memory.connect() as session:
            async for outcomes in run(one_and_then_nothing(), LocalFiles(tmp_path), session):
                return outcomes
        return []

    assert [outcome.kind for outcome in asyncio.run(story())] == ["moved"]


def test_cancelling_stops_at_once_and_the_next_run_resumes(tmp_path: Path, memory: Memory) -> None:
    items = written(tmp_path, {"large": LARGE})

    class Slow(Wrapper):
        async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | DrayError]:
            if pieces[0].number > 2:
                task.cancel()
                await asyncio.Event().wait()
            return await self.inner.write(pieces)

    async def story() -> None:
        nonlocal task
        async with memory.connect() as session:
            task = asyncio.create_task(move(items, LocalFiles(tmp_path), Slow(session)))
            with pytest.raises(asyncio.CancelledError):
                await task

    task: asyncio.Task[list[Outcome]]
    asyncio.run(story())
    assert memory.files == {}
    assert go(items, tmp_path, memory)[0].kind == "moved"


def test_a_step_out_of_order_is_a_bug_and_says_so() -> None:
    with pytest.raises(LookupError):
        ref(Walk(Item(RemotePath("x"), 0, "v", "x")))
