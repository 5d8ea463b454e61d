"""Files that somebody writes to while they are to be read, in ways that their times do not tell."""

import asyncio
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dray import fs
from dray.clock import SystemClock
from dray.errors import DrayError, SourceBusy, SourceChanged
from dray.model.names import RemotePath
from dray.moving import digest
from dray.moving.digest import TICK, gather, version_of
from dray.moving.item import Content, Item
from dray.moving.report import NullReport
from dray.moving.reread import SMALL, Asked, Now, Reader
from dray.moving.source import LocalFiles
from dray.moving.spool import Spool

SIZE = 10_000
GRAIN = TICK / 2
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a file for writing; it is not open otherwise."""
    with path.open("r+b") as file:
        view = mmap.mmap(file.fileno(), 0)
    try:
        yield view
    finally:
        view.close()


def item_of(path: Path) -> Item:
    seen = os.stat(path)
    return Item(RemotePath(path.name), seen.st_size, version_of(seen).token(), path.name)


def gathered(path: Path) -> Content | DrayError:
    with Spool() as spool:
        return gather(str(path.parent), [item_of(path)], spool, fs.DISK)[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tree" / "f"
    made.parent.mkdir()
    made.write_bytes(bytes(SIZE))
    return made


@linux
def test_a_small_file_is_not_taken_while_it_is_mapped_for_writing(path: Path) -> None:
    with mapped(path) as view:
        view[0] = 1
        assert isinstance(gathered(path), SourceBusy)
        view[1] = 1
    assert isinstance(gathered(path), Content)


@linux
def test_a_large_file_is_not_opened_while_somebody_has_it_open_for_writing(path: Path) -> None:
    async def story() -> None:
        with path.open("r+b"), pytest.raises(SourceBusy):
            async with LocalFiles(path.parent).opened(item_of(path)):
                pass
        async with LocalFiles(path.parent).opened(item_of(path)) as opened:
            assert (await opened.checksum()).algorithm == "sha256"

    asyncio.run(story())


@linux
@pytest.mark.parametrize("size", [SIZE, SMALL + 1])
def test_nothing_is_said_of_a_file_that_is_mapped_for_writing(path: Path, size: int) -> None:
    async def read() -> Now | DrayError:
        with fs.Root(path.parent) as root:
            reader = Reader(root, None, SystemClock(), NullReport(), asyncio.Event())
            return (await reader.read([Asked("f", RemotePath("f"), size)]))[0]

    path.write_bytes(bytes(size))
    with mapped(path):
        assert isinstance(asyncio.run(read()), SourceBusy)
    assert isinstance(asyncio.run(read()), Now)


def test_a_change_while_it_is_read_shows_even_where_times_are_coarse(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat, read_into = os.fstat, fs.read_into

    def coarse(fd: int) -> Any:
        seen = fstat(fd)
        names = ("st_dev", "st_ino", "st_size", "st_mode", "st_mtime_ns")
        kept = {name: getattr(seen, name) for name in names} | {"st_mtime_ns": 0}
        ctime = seen.st_ctime // GRAIN * GRAIN
        return SimpleNamespace(**kept, st_ctime=ctime, st_ctime_ns=round(ctime * 1e9))

    def changing(fd: int, view: memoryview, offset: int) -> int:
        count = read_into(fd, view, offset)
        with path.open("r+b") as file:
            file.write(b"changed")
        return count

    with path.open("r+b") as file:
        file.write(b"just now")
        version = version_of(coarse(file.fileno())).token()
    monkeypatch.setattr(digest.os, "fstat", coarse)
    monkeypatch.setattr(fs, "read_into", changing)
    with Spool() as spool:
        item = Item(RemotePath("f"), SIZE, version, "f")
        assert isinstance(gather(str(path.parent), [item], spool, fs.DISK)[0], SourceChanged)
