"""Changes of names at a posix place: each may be repeated, none goes beneath the root."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dray.errors import Conflict, DrayError, NotFound
from dray.model.names import RemotePath
from dray.model.values import Change
from dray.transports.base import names_of
from dray.transports.posix import Posix
from dray.transports.wrappers import Wrapper


def change(root: Path, *changes: Change) -> Sequence[DrayError | None]:
    async def story() -> Sequence[DrayError | None]:
        async with Posix(root).connect() as session:
            names = names_of(Wrapper(Wrapper(session)))
            assert names is not None
            return await names.change(changes)

    return asyncio.run(story())


def one(what: str, path: str, target: str = "") -> Change:
    return Change(what, RemotePath(path), target)  # type: ignore[arg-type]


def test_every_change_is_made_and_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    changes = [one("mkdir", "x/y"), one("symlink", "x/l", "../a"), one("remove", "a"), one("rmdir", "x/y")]
    assert change(tmp_path, *changes) == [None] * 4
    assert change(tmp_path, *changes) == [None] * 4
    assert sorted(os.listdir(tmp_path)) == [".dray", "x"]
    assert os.readlink(tmp_path / "x" / "l") == "../a"


def test_a_rename_replaces_a_file_and_says_when_there_is_nothing_to_rename(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    assert change(tmp_path, one("rename", "b", "a")) == [None]
    assert (tmp_path / "b").read_bytes() == b"a"
    (failure,) = change(tmp_path, one("rename", "b", "a"))
    assert isinstance(failure, NotFound)
    assert (tmp_path / "b").read_bytes() == b"a"


def test_folders_that_hold_something_stay(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"")
    (tmp_path / "g").write_bytes(b"g")
    answers = change(tmp_path, one("rmdir", "d"), one("symlink", "d", "g"), one("rename", "d", "g"))
    assert [type(answer) for answer in answers] == [Conflict] * 3
    assert (tmp_path / "d" / "f").exists()


@pytest.mark.parametrize("target", ["../out", "/etc/passwd", ".dray/staging"])
def test_nothing_is_renamed_from_elsewhere(tmp_path: Path, target: str) -> None:
    (answer,) = change(tmp_path, one("rename", "b", target))
    assert isinstance(answer, DrayError)
