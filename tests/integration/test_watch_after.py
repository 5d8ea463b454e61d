"""Delivered files are deleted or moved away only when what lies there now is what was verified."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dray.agent.journal import Journal
from dray.agent.leave import INTENT, After, recover
from dray.agent.watch import HotDirectory
from dray.errors import UsageError
from dray.fs import Root
from tests.integration.hot import Hot, until

AT_ONCE = After("delete", 0.0)


@dataclass
class Leaving(Hot):
    after: After = AT_ONCE

    def directory(self) -> HotDirectory:
        return replace(super().directory(), after=self.after)


def here(hot: Hot) -> list[str]:
    return sorted(path.relative_to(hot.root).as_posix() for path in hot.root.rglob("*") if path.is_file())


def test_delivered_files_are_deleted_after_the_grace_time(tmp_path: Path) -> None:
    hot = Leaving(tmp_path)

    async def story() -> None:
        async with hot.running():
            (hot.root / "sub").mkdir()
            for name in ("a", "sub/b"):
                (hot.root / name).write_bytes(name.encode())
            await until(lambda: not here(hot))
            await until(lambda: hot.reason("sub/b") == "deleted here after it was delivered")

    asyncio.run(story())
    assert hot.stored() == {"a": b"a", "sub/b": b"sub/b"}


def test_a_file_stays_for_the_grace_time(tmp_path: Path) -> None:
    hot = Leaving(tmp_path, after=After("delete", 3600.0))

    async def story() -> None:
        async with hot.running():
            (hot.root / "a").write_bytes(b"a")
            await hot.delivered({"a": b"a"})

    asyncio.run(story())
    assert here(hot) == ["a"]


def test_delivered_files_are_moved_and_never_over_one_another(tmp_path: Path) -> None:
    done = tmp_path / "done"
    hot = Leaving(tmp_path, after=After("move", 0.0, str(done)))

    async def story() -> None:
        async with hot.running():
            for content in (b"first", b"second"):
                (hot.root / "d").mkdir(exist_ok=True)
                (hot.root / "d" / "a").write_bytes(content)
                await until(lambda content=content: content in [p.read_bytes() for p in done.rglob("a*")])

    asyncio.run(story())
    assert {path.name: path.read_bytes() for path in (done / "d").iterdir()} == {"a": b"first", "a.1": b"second"}


def same_size_and_time(path: Path) -> None:
    seen = path.stat()
    path.write_bytes(b"XXXXX")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.mark.parametrize("spoil", [same_size_and_time, lambda path: path.write_bytes(b"longer than before")])
def test_what_is_not_what_was_verified_is_never_deleted(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    hot = Leaving(tmp_path)
    hot.root.mkdir()
    (hot.root / "a").write_bytes(b"12345")
    hot.once()
    spoil(hot.root / "a")
    kept = (hot.root / "a").read_bytes()

    async def story() -> None:
        async with hot.running():
            await until(lambda: hot.stored() == {"a": kept} and not here(hot))

    asyncio.run(story())
    assert hot.versions() == 1


def test_a_version_that_comes_in_the_last_moment_gets_its_name_back(tmp_path: Path) -> None:
    hot = Leaving(tmp_path)
    hot.root.mkdir()
    (hot.root / "new").write_bytes(b"new")
    journal_path = tmp_path / "j.sqlite"
    with closing(Journal(journal_path)) as journal, journal.transaction(), Root(hot.root) as root:
        (hot.root / "new").rename(hot.root / ".dray-1")
        journal.note(INTENT, '[["", "new", ".dray-1"], ["gone", "x", ".dray-2"]]')
        recover(journal, root)
        assert here(hot) == ["new"]
        (hot.root / "new").rename(hot.root / ".dray-1")
        (hot.root / "new").write_bytes(b"newer")
        journal.note(INTENT, '[["", "new", ".dray-1"]]')
        recover(journal, root)
    assert {name: (hot.root / name).read_bytes() for name in here(hot)} == {"new": b"newer", "new.1": b"new"}


def test_a_file_that_somebody_writes_to_is_left_alone(tmp_path: Path) -> None:
    hot = Leaving(tmp_path)
    hot.root.mkdir()
    (hot.root / "a").write_bytes(b"12345")
    (hot.root / "b").write_bytes(b"12345")
    hot.once()

    async def story() -> None:
        with (hot.root / "a").open("ab"):
            async with hot.running():
                await until(lambda: here(hot) == ["a"])

    asyncio.run(story())


def test_moving_into_the_directory_itself_is_refused(tmp_path: Path) -> None:
    hot = Leaving(tmp_path, after=After("move", 0.0, str(tmp_path / "hot" / "done")))

    async def story() -> None:
        async with hot.running():
            pass

    hot.root.mkdir()
    with pytest.raises(UsageError, match="found again"):
        asyncio.run(story())
