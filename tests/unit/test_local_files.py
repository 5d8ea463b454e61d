"""Local files as a source, when somebody gives up in the middle."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from dray import fs
from dray.model.names import RemotePath
from dray.moving.digest import version_of
from dray.moving.item import Item
from dray.moving.source import LocalFiles


def test_a_file_whose_opening_is_cancelled_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"bytes")
    version = version_of(os.stat(tmp_path / "f")).token()
    item = Item(RemotePath("f"), 5, version, "f")
    opening, go = threading.Event(), threading.Event()
    opened: list[int] = []
    open_read = fs.Folder.open_read

    def slowly(folder: fs.Folder, name: str) -> int:
        opening.set()
        assert go.wait(30)
        opened.append(open_read(folder, name))
        return opened[0]

    monkeypatch.setattr(fs.Folder, "open_read", slowly)

    async def story() -> None:
        async def use() -> None:
            async with LocalFiles(tmp_path).opened(item):
                raise AssertionError("cancelled before it was open")

        task = asyncio.create_task(use())
        await asyncio.to_thread(opening.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
