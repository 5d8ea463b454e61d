"""Names stay beneath their root, failures have one table, and every platform's way gives the same."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dray import errors, fs, kernel

WAYS = ("openat2", "walk", "names")


@pytest.fixture(params=WAYS)
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fs.Root]:
    if request.param != "openat2":
        monkeypatch.setattr(kernel, "has_openat2", lambda: False)
    if request.param == "names":
        monkeypatch.setattr(fs, "_DIR_FD", False)
        monkeypatch.delattr(os, "preadv", raising=False)
        monkeypatch.delattr(os, "pwrite", raising=False)
    (tmp_path / "root").mkdir()
    with fs.Root(tmp_path / "root") as found:
        yield found


def test_linux_has_what_only_linux_has_so_that_its_ways_are_tested() -> None:
    modern = sys.platform == "linux" and hasattr(os, "O_DIRECTORY")
    assert kernel.has_openat2() == modern
    assert kernel.has_syncfs() == (sys.platform == "linux")


def test_a_link_in_the_middle_of_a_path_is_refused(root: fs.Root, tmp_path: Path) -> None:
    (tmp_path / "outside" / "sub").mkdir(parents=True)
    Path(root.path, "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r".") as caught:
        root.folder("link/sub")
    assert isinstance(fs.failure(caught.value), errors.NameRefused)


def test_a_link_at_the_end_of_a_path_is_not_followed(root: fs.Root, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    Path(root.path, "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"."):
        root.folder("link")


def test_a_linked_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with fs.Root(tmp_path) as root, root.folder() as folder, pytest.raises(OSError, match=r".") as caught:
        folder.open_read("link")
    assert isinstance(fs.failure(caught.value), errors.NameRefused)


def test_dots_do_not_lead_out_of_the_root(root: fs.Root) -> None:
    with root, pytest.raises(OSError, match=r".") as caught:
        root.folder("../root")
    assert isinstance(fs.failure(caught.value), errors.NameRefused)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener, fs.Root(tmp_path) as root, root.folder() as folder:
        listener.bind(str(tmp_path / "socket"))
        for name in ("pipe", "folder"):
            with pytest.raises(errors.Refused):
                folder.open_read(name)
        with pytest.raises((errors.Refused, OSError)):
            folder.open_read("socket")


def test_folders_are_made_with_their_parents_and_touched_ones_made_durable(root: fs.Root) -> None:
    synced: list[int] = []
    root.disk = type("Recorder", (fs.Disk,), {"sync": lambda self, fd: synced.append(fd)})()
    with fs.Folders(root) as folders:
        assert folders.made("a/b/c").path == "a/b/c"
        assert folders.made("a/b/c") is folders.at("a/b/c")
        assert folders.touched == {"", "a", "a/b"}
        folders.sync()
    assert os.path.isdir(os.path.join(root.path, "a/b/c"))
    assert len(synced) == (3 if fs._DIR_FD else 0)


def test_many_touched_folders_are_made_durable_by_one_call(tmp_path: Path) -> None:
    calls: list[str] = []

    class Recorder(fs.Disk):
        def sync(self, fd: int) -> None:
            calls.append("sync")

        def sync_all(self, fd: int) -> None:
            calls.append("sync_all")

    with fs.Root(tmp_path, Recorder()) as root, fs.Folders(root, most=4) as folders:
        for number in range(20):
            folders.touched.add(folders.made(f"{number}").path)
        folders.sync()
        one_by_one = ["sync"] * 21 if fs._DIR_FD else []
    assert calls == (["sync_all"] if fs._DIR_FD and kernel.has_syncfs() else one_by_one)


def test_an_error_of_the_file_system_comes_out_and_is_not_tried_again(tmp_path: Path) -> None:
    calls: list[int] = []

    class Failing(fs.Disk):
        def sync(self, fd: int) -> None:
            calls.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").write_bytes(b"x")
    with fs.Root(tmp_path, Failing()) as root, fs.Folders(root) as folders, pytest.raises(OSError, match=r"."):
        folders.sync([("", "file")])
    assert len(calls) == 1


def test_rename_never_replaces(root: fs.Root, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(root.path, "old").write_text("old")
    Path(root.path, "new").write_text("new")
    with root.folder() as folder:
        for atomic in (True, False):
            if not atomic:
                monkeypatch.setattr(kernel, "_renameat2", lambda: None)
            with pytest.raises(FileExistsError):
                root.disk.rename(folder.at("new"), folder.at("old"))
            root.disk.rename(folder.at("new"), folder.at("free"))
            root.disk.rename(folder.at("free"), folder.at("new"))
    assert Path(root.path, "old").read_text() == "old"
    assert Path(root.path, "new").read_text() == "new"


def test_bytes_written_at_an_offset_are_read_back(root: fs.Root) -> None:
    with root.folder() as folder:
        fd = root.disk.create(folder.at("a name é"))
        root.disk.pwrite(fd, b"defg", 3)
        root.disk.pwrite(fd, b"abc", 0)
        found = [bytes(view) for view in fs.pieces_of(fs.FileRange(fd, 1, 5), memoryview(bytearray(2)))]
        os.close(fd)
    assert found == [b"bc", b"de", b"f"]


def test_a_range_beyond_the_end_is_a_changed_source(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"abc")
    with open(tmp_path / "short", "rb") as file, pytest.raises(errors.SourceChanged):
        list(fs.pieces_of(fs.FileRange(file.fileno(), 0, 4), memoryview(bytearray(8))))


def test_locked_bytes_are_refused_to_another_opening_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with open(tmp_path / "file", "rb+") as one, open(tmp_path / "file", "rb+") as two:
        assert kernel.lock_range(one.fileno(), 0, 100)
        assert kernel.lock_range(two.fileno(), 50, 100) == (not hasattr(kernel.fcntl, "F_OFD_SETLK"))
        assert kernel.lock_range(two.fileno(), 100, 100)


@pytest.mark.parametrize("name", ["a\\b", "c:d", "NUL", "com1.txt", "end.", "end ", 'quo"te', "new\nline", "a*"])
def test_names_that_windows_reads_otherwise_are_refused_there(name: str) -> None:
    with pytest.raises(OSError, match="Windows"):
        kernel.possible_on_windows(name)


@pytest.mark.parametrize("name", ["plain.h5", "with space", "ümlaut", "contest.txt", ".hidden", "a.b.c"])
def test_ordinary_names_are_possible_on_windows(name: str) -> None:
    assert kernel.possible_on_windows(name) == name


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.NoSpace),
        (errno.EACCES, errors.Forbidden),
        (errno.EROFS, errors.Forbidden),
        (errno.ELOOP, errors.NameRefused),
        (errno.EXDEV, errors.NameRefused),
        (errno.ENOENT, errors.NotFound),
        (errno.ENOTDIR, errors.Conflict),
        (errno.EIO, errors.Temporary),
        (errno.EMFILE, errors.Temporary),
        (errno.EPIPE, errors.Permanent),
    ],
)
def test_an_error_of_the_operating_system_becomes_one_of_ours(number: int, kind: type[errors.DrayError]) -> None:
    found = fs.failure(OSError(number, os.strerror(number)), "some file")
    assert type(found) is kind
    assert found.item == "some file"
    assert os.strerror(number) in str(found)


class WithoutLinks(fs.Disk):
    """A disk as FAT is."""

    def link(self, source: fs.At, target: fs.At) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_rename_spares_the_target_where_there_are_no_links_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_renameat2", lambda: None)
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    with fs.Root(tmp_path, WithoutLinks()) as root:
        with pytest.raises(FileExistsError):
            root.disk.rename(root.top.at("new"), root.top.at("old"))
        root.disk.rename(root.top.at("new"), root.top.at("free"))
    assert (tmp_path / "old").read_text() == "old"
    assert (tmp_path / "free").read_text() == "new"
