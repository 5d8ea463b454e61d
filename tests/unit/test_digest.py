"""Source files are read once: what lies in the spool is what was hashed."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from dray import fs
from dray.errors import DrayError, NotFound, SourceChanged
from dray.model.names import RemotePath
from dray.model.parts import parts
from dray.moving.digest import Pass, gather
from dray.moving.item import Content, Item
from dray.moving.source import version_of
from dray.moving.spool import Spool

BUFFER = fs.BUFFER


def item(root: Path, name: str) -> Item:
    seen = (root / name).stat()
    return Item(RemotePath(name), seen.st_size, version_of(seen).token(), name)


def taken(spool: Spool, content: Content | DrayError) -> bytes:
    assert isinstance(content, Content)
    return os.pread(spool.file, content.at.length, content.at.offset)


@pytest.mark.parametrize("sizes", [[0], [10, 0, 20], [BUFFER - 1, 2, 3], [BUFFER, 1], [3 * BUFFER + 5, 7]])
def test_files_lie_in_the_spool_one_after_another_as_they_were_hashed(tmp_path: Path, sizes: list[int]) -> None:
    data = [os.urandom(size) for size in sizes]
    for number, one in enumerate(data):
        (tmp_path / f"f{number}").write_bytes(one)
    with Spool() as spool:
        found = gather(str(tmp_path), [item(tmp_path, f"f{n}") for n in range(len(data))], spool, fs.DISK)
        for one, content in zip(data, found, strict=True):
            assert taken(spool, content) == one
            assert isinstance(content, Content)
            assert content.crc32c == crc32c(one)
            assert content.checksum.hex == hashlib.sha256(one).hexdigest()


def test_a_failing_file_leaves_the_others_where_they_belong(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 1000)
    items = [item(tmp_path, name) for name in "abc"]
    (tmp_path / "b").write_bytes(b"other")
    gone = Item(RemotePath("x/y"), 1, "v", "x/y")
    with Spool() as spool:
        found = gather(str(tmp_path), [items[0], gone, items[1], items[2]], spool, fs.DISK)
        assert [type(one) for one in found] == [Content, NotFound, SourceChanged, Content]
        assert taken(spool, found[0]) == b"a" * 1000
        assert taken(spool, found[3]) == b"c" * 1000


def test_a_spool_works_without_anonymous_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "a").write_bytes(b"abc")
    with Spool() as spool:
        assert taken(spool, gather(str(tmp_path), [item(tmp_path, "a")], spool, fs.DISK)[0]) == b"abc"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_closed_spool_gives_its_file_back() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(10):
        Spool().close()
        Spool(on_disk=True).close()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


@given(st.binary(max_size=5000), st.integers(1, 600))
def test_one_pass_gives_each_part_and_the_whole(data: bytes, part_size: int) -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        reading = Pass(file.fileno())
        for part in parts(len(data), part_size):
            assert reading.part(part) == crc32c(data[part.offset : part.offset + part.length])
        assert reading.checksum().hex == hashlib.sha256(data).hexdigest()
