"""Whatever way a file comes into a hot directory, it arrives once, whole, and what does not arrive has a reason."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dray.agent.plan import plan
from dray.errors import Busy, NotFound
from dray.model.settle import Policy
from tests.integration.hot import SETTLE, Hot, until

DATA = os.urandom(200_000)
PAUSE = 3 * SETTLE


def renamed_from_hidden(root: Path) -> None:
    (root / ".a.dat").write_bytes(DATA)
    (root / ".a.dat").rename(root / "a.dat")


def renamed_from_tmp(root: Path) -> None:
    (root / "a.dat.tmp").write_bytes(DATA)
    (root / "a.dat.tmp").rename(root / "a.dat")


def written_as_rsync_does(root: Path) -> None:
    with (root / ".a.dat.Xq1z9B").open("wb") as file:
        file.write(DATA[:1000])
        file.flush()
        file.write(DATA[1000:])
    os.utime(root / ".a.dat.Xq1z9B", (1e9, 1e9))
    (root / ".a.dat.Xq1z9B").rename(root / "a.dat")


def linked_in(root: Path) -> None:
    (root / "a.dat.part").write_bytes(DATA)
    os.link(root / "a.dat.part", root / "a.dat")
    (root / "a.dat.part").unlink()


def moved_in_with_its_folder(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.dat").write_bytes(DATA)
    outside.rename(root / "run")


def written_and_closed(root: Path) -> None:
    (root / "a.dat").write_bytes(DATA)


@pytest.mark.parametrize(
    ("drop", "path"),
    [
        (renamed_from_hidden, "a.dat"),
        (renamed_from_tmp, "a.dat"),
        (written_as_rsync_does, "a.dat"),
        (linked_in, "a.dat"),
        (moved_in_with_its_folder, "run/a.dat"),
        (written_and_closed, "a.dat"),
    ],
)
def test_a_file_that_is_dropped_in_arrives_once_and_whole(
    tmp_path: Path, drop: Callable[[Path], None], path: str
) -> None:
    async def story() -> None:
        async with Hot(tmp_path).running() as hot:
            drop(hot.root)
            await hot.delivered({path: DATA})
            assert hot.versions() == 0

    asyncio.run(story())


def appended(root: Path, step: Callable[[], None]) -> None:
    with (root / "a.dat").open("wb") as file:
        for begin in range(0, len(DATA), 100_000):
            file.write(DATA[begin : begin + 100_000])
            file.flush()
            step()


def preallocated(root: Path, step: Callable[[], None]) -> None:
    with (root / "a.dat").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, len(DATA))
        step()
        file.write(DATA)
        file.flush()
        step()


def sparse(root: Path, step: Callable[[], None]) -> None:
    with (root / "a.dat").open("wb") as file:
        file.truncate(len(DATA))
        step()
        for begin in (100_000, 0):
            file.seek(begin)
            file.write(DATA[begin : begin + 100_000])
            file.flush()
            step()


@pytest.mark.parametrize("write", [appended, preallocated, sparse])
def test_a_file_that_is_held_open_is_never_sent_before_it_is_closed(
    tmp_path: Path, write: Callable[[Path, Callable[[], None]], None]
) -> None:
    async def story() -> None:
        async with Hot(tmp_path, rescan=SETTLE).running() as hot:
            loop = asyncio.get_running_loop()

            def step() -> None:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(PAUSE), loop).result()
                assert hot.stored() == {}

            await asyncio.to_thread(write, hot.root, step)
            await hot.delivered({"a.dat": DATA})
            assert hot.versions() == 0

    asyncio.run(story())


def test_a_file_that_stays_open_waits_with_its_reason(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path, rescan=SETTLE).running() as hot:
            with (hot.root / "a.dat").open("wb") as file:
                file.write(DATA)
                file.flush()
                await until(lambda: hot.states() == {"a.dat": "settling"} and "open" in hot.reason("a.dat"))
            await hot.delivered({"a.dat": DATA})

    asyncio.run(story())


def test_files_that_are_reopened_to_grow_rest_first_where_the_user_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        hot = Hot(tmp_path, policy=Policy(settle=4 * SETTLE, closed_at_once=False))
        async with hot.running():
            for begin in range(0, len(DATA), 50_000):
                with (hot.root / "a.dat").open("ab") as file:
                    file.write(DATA[begin : begin + 50_000])
                await asyncio.sleep(SETTLE)
            await hot.delivered({"a.dat": DATA})
            assert hot.versions() == 0

    asyncio.run(story())


def test_saving_over_a_delivered_file_makes_a_new_version(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path).running() as hot:
            (hot.root / "notes.txt").write_bytes(b"one")
            await hot.delivered({"notes.txt": b"one"})
            (hot.root / ".notes.txt.swp").write_bytes(b"two!")
            (hot.root / ".notes.txt.swp").replace(hot.root / "notes.txt")
            await hot.delivered({"notes.txt": b"two!"})
            with (hot.root / "notes.txt").open("ab") as file:
                file.write(b" three")
            await hot.delivered({"notes.txt": b"two! three"})
            assert hot.versions() == 2

    asyncio.run(story())


def test_content_changed_under_a_restored_time_is_noticed(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    hot.root.mkdir(parents=True)
    (hot.root / "a.dat").write_bytes(b"before")
    hot.once()
    times = (hot.root / "a.dat").stat()
    (hot.root / "a.dat").write_bytes(b"after!")
    os.utime(hot.root / "a.dat", ns=(times.st_atime_ns, times.st_mtime_ns))
    hot.once()
    assert hot.stored() == {"a.dat": b"after!"}


def test_what_came_and_went_while_the_agent_was_down_is_found(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    hot.root.mkdir(parents=True)
    (hot.root / "old.dat").write_bytes(b"old")
    (hot.root / "sub").mkdir()
    (hot.root / "sub" / "x.dat").write_bytes(b"x")
    hot.once()
    (hot.root / "old.dat").unlink()
    (hot.root / "sub").rename(hot.root / "moved")
    (hot.root / "new.dat").write_bytes(b"new")
    hot.once()
    assert hot.stored() == {"old.dat": b"old", "sub/x.dat": b"x", "moved/x.dat": b"x", "new.dat": b"new"}
    states = hot.states()
    assert {path: states[path] for path in ("old.dat", "sub/x.dat")} == {"old.dat": "gone", "sub/x.dat": "gone"}
    assert hot.reason("old.dat") == "deleted after it was delivered"


def test_an_unchanged_directory_moves_nothing(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    hot.root.mkdir(parents=True)
    (hot.root / "a.dat").write_bytes(DATA)
    hot.once()
    assert [outcome.kind for outcome in hot.told.outcomes] == ["moved"]
    hot.once()
    assert len(hot.told.outcomes) == 1
    assert [str(outcome.path) for outcome in hot.arrived] == ["a.dat"]


def test_every_name_that_is_not_sent_has_a_row_with_its_reason(tmp_path: Path) -> None:
    hot = Hot(tmp_path, rules=["- *.log"])
    hot.root.mkdir(parents=True)
    for name in ("new\nline", "sp ace", "qu'ot\"e", "back\\slash", "ümläut", "日本", "-dash", "a" * 255):
        (hot.root / name).write_bytes(name.encode())
    bad = os.fsdecode(b"bad\xff.dat")
    (hot.root / bad).write_bytes(b"bad")
    (hot.root / "link").symlink_to("sp ace")
    os.mkfifo(hot.root / "pipe")
    (hot.root / "run.log").write_bytes(b"log")
    (hot.root / ".git").mkdir()
    (hot.root / ".git" / "config").write_bytes(b"x")
    summary = hot.once()
    assert hot.stored() == {name: name.encode() for name in os.listdir(hot.root) if hot.states()[name] == "delivered"}
    assert len(hot.stored()) == 8
    assert {path: hot.reason(path) for path in (bad, "link", "pipe", "run.log", ".git")} == {
        bad: "the name is not valid UTF-8",
        "link": "a symbolic link; links are not followed",
        "pipe": "not a regular file",
        "run.log": 'left out by the rule "- *.log"',
        ".git": 'folder left out by the rule "- .*"',
    }
    counts = Counter[str]()
    for tally in summary.tallies:
        counts[tally.state] += tally.files
    assert counts == {"delivered": 8, "refused": 3, "skipped": 2}


def test_other_rules_are_applied_to_what_was_left_out_before(tmp_path: Path) -> None:
    hot = Hot(tmp_path, rules=["- *.log", "- raw/"])
    (hot.root / "raw").mkdir(parents=True)
    (hot.root / "raw" / "a.dat").write_bytes(b"a")
    (hot.root / "run.log").write_bytes(b"log")
    hot.once()
    assert hot.stored() == {}
    replace(hot, rules=[]).once()
    assert hot.stored() == {"raw/a.dat": b"a", "run.log": b"log"}


def test_nested_folders_made_in_a_hurry_are_all_found_without_a_rescan(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path).running() as hot:
            expected = await asyncio.to_thread(nest, hot.root)
            await hot.delivered(expected)

    asyncio.run(story())


def nest(root: Path) -> dict[str, bytes]:
    expected = {}
    for number in range(30):
        folder = f"r{number}/" + "/".join("abcde"[: number % 5 + 1])
        (root / folder).mkdir(parents=True)
        (root / folder / "f").write_bytes(folder.encode())
        expected[f"{folder}/f"] = folder.encode()
    return expected


def test_files_whose_events_were_lost_are_found_by_the_rescan_that_follows(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path).running() as hot:
            overflow(hot.root)
            (hot.root / "lost.dat").write_bytes(DATA)
            await hot.delivered({"lost.dat": DATA})

    asyncio.run(story())


def overflow(root: Path) -> None:
    """Fill the queue of events while nobody reads it."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = (root / "one.tmp", root / "two.tmp")
    names[0].touch()
    for number in range(most):
        os.rename(names[number % 2], names[1 - number % 2])


def test_a_done_file_releases_what_it_is_about(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path, policy=Policy(SETTLE, done_file="{name}.done")).running() as hot:
            (hot.root / "a.dat").write_bytes(b"a")
            (hot.root / "b.dat").write_bytes(b"b")
            await until(lambda: hot.states() == {"a.dat": "settling", "b.dat": "settling"})
            (hot.root / "a.dat.done").write_bytes(b"x")
            await hot.delivered({"a.dat": b"a", "a.dat.done": b"x"})
            assert "done-file" in hot.reason("b.dat")

    asyncio.run(story())


def test_a_sentinel_releases_its_folder_and_all_below(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path, policy=Policy(SETTLE, done_file="RUN_COMPLETE")).running() as hot:
            for folder in ("run1", "run1/sub", "run2"):
                (hot.root / folder).mkdir()
                (hot.root / folder / "a.dat").write_bytes(folder.encode())
            await until(lambda: len(hot.states()) == 3)
            (hot.root / "run1" / "RUN_COMPLETE").write_bytes(b"yes")
            await hot.delivered({"run1/a.dat": b"run1", "run1/sub/a.dat": b"run1/sub", "run1/RUN_COMPLETE": b"yes"})
            assert hot.states()["run2/a.dat"] == "settling"

    asyncio.run(story())


def test_a_directory_that_goes_away_is_waited_for_and_nothing_counts_as_deleted(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path, rescan=SETTLE).running() as hot:
            (hot.root / "a.dat").write_bytes(b"a")
            await hot.delivered({"a.dat": b"a"})
            hot.root.rename(tmp_path / "unplugged")
            await until(lambda: any("not there" in reason or "no such" in reason for reason in hot.told.reasons))
            assert hot.states() == {"a.dat": "delivered"}
            (tmp_path / "unplugged").rename(hot.root)
            (hot.root / "b.dat").write_bytes(b"b")
            await hot.delivered({"a.dat": b"a", "b.dat": b"b"})

    asyncio.run(story())


def test_a_directory_that_was_never_there_is_an_error(tmp_path: Path) -> None:
    hot = Hot(tmp_path / "nowhere")

    async def story() -> None:
        from dray.agent.watch import watch

        await watch(hot.directory(), hot.lane(), hot.told, asyncio.Event(), hot.clock)

    with pytest.raises(NotFound):
        asyncio.run(story())


def test_a_second_agent_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with Hot(tmp_path).running():
            with pytest.raises(Busy, match="another agent"):
                await asyncio.to_thread(Hot(tmp_path).once)

    asyncio.run(story())


def test_a_plan_says_what_a_run_would_do_and_changes_nothing(tmp_path: Path) -> None:
    hot = Hot(tmp_path, rules=["- *.log"], policy=Policy(60.0))
    hot.root.mkdir(parents=True)
    for name in ("a.dat", "b.log"):
        (hot.root / name).write_bytes(b"x")
    (hot.root / "link").symlink_to("a.dat")
    planned = list(plan(hot.directory(), hot.clock))
    assert [(one.action, one.path, one.to) for one in planned] == [
        ("send", "a.dat", "a.dat"),
        ("skip", "b.log", ""),
        ("refuse", "link", ""),
    ]
    assert not hot.journal.exists()
    replace(hot, policy=Policy(SETTLE)).once()
    assert [one.action for one in plan(hot.directory(), hot.clock)] == ["skip", "refuse"]
