"""The only module that touches local files: every write, fsync, rename, link and path-safe open of the program.

Everything that changes a disk is a method of ``Disk``, so that a test can record, refuse or cut off each of them.
``Root`` keeps names beneath a directory: no symbolic link below it is ever followed. All calls here block, and raise
OSError; ``failure`` translates.
"""

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, TypeAlias

import msgspec

from dray import errors, kernel

Bytes: TypeAlias = bytes | bytearray | memoryview

BUFFER = 1 << 20
FEW = 8
"""Up to so many files are made durable one by one, more by one call for their file system."""

# Read at each use, so that a test can take the way of a platform that has less.
_DIR_FD = {os.open, os.stat, os.mkdir, os.rename, os.link, os.unlink} <= os.supports_dir_fd and hasattr(
    os, "O_NOFOLLOW"
)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_FOLLOW
# A FIFO in the tree must not make the open wait for a writer.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NO_FOLLOW

read_at = kernel.read_at


class FileRange(msgspec.Struct, frozen=True):
    """``length`` bytes at ``offset`` of an open file descriptor, which its owner keeps open while others use it."""

    file: int
    offset: int
    length: int


NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system answers that has no second names for a file."""


failure = kernel.failure


class At(NamedTuple):
    """A name inside an open folder (``folder`` is its descriptor), or a full path where the platform has no such."""

    name: str
    folder: int | None


class Disk:
    """Every operation that changes a disk, each done once and never retried."""

    def ensure(self, at: At) -> None:
        """Make an empty file unless the name is taken."""
        with contextlib.suppress(FileExistsError):
            os.close(self.create(at))

    def create(self, at: At) -> int:
        """Make a new file, which must not exist, and return it open for reading and writing."""
        return os.open(at.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666, dir_fd=at.folder)

    def write(self, fd: int, data: Bytes) -> None:
        """Write all of ``data`` at the file's position."""
        done = os.write(fd, data)
        while done < len(data):
            done += os.write(fd, memoryview(data)[done:])

    def pwrite(self, fd: int, data: Bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        if not hasattr(os, "pwrite"):
            with kernel.POSITION:
                os.lseek(fd, offset, os.SEEK_SET)
                return self.write(fd, data)
        done = os.pwrite(fd, data, offset)
        while done < len(data):
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)
        return None

    def set_mtime(self, fd: int, at: At, mtime_ns: int) -> None:
        """Set the modification time."""
        if os.utime in os.supports_fd:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        else:
            os.utime(at.name, ns=(mtime_ns, mtime_ns))

    def sync_data(self, fd: int) -> None:
        """Make a file's bytes durable. An error means that they are unknown: discard them, do not try again."""
        kernel.fsync(fd, data_only=True)

    def sync(self, fd: int) -> None:
        """Make a file or directory durable; an error as with ``sync_data``."""
        kernel.fsync(fd, data_only=False)

    def sync_all(self, fd: int) -> None:
        """Make everything on the file system of ``fd`` durable."""
        kernel.syncfs(fd)

    def mkdir(self, at: At) -> None:
        """Make a folder."""
        os.mkdir(at.name, 0o777, dir_fd=at.folder)

    def rmdir(self, at: At) -> None:
        """Remove an empty folder."""
        os.rmdir(at.name, dir_fd=at.folder)

    def symlink(self, target: str, at: At) -> None:
        """Make a symbolic link."""
        os.symlink(target, at.name, dir_fd=at.folder)

    def unlink(self, at: At) -> None:
        """Remove a file."""
        os.unlink(at.name, dir_fd=at.folder)

    def link(self, source: At, target: At) -> None:
        """Give a file a second name, which must be free."""
        os.link(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder, follow_symlinks=False)

    def replace(self, source: At, target: At) -> None:
        """Rename over whatever has the target name."""
        os.replace(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)

    def rename(self, source: At, target: At) -> None:
        """Rename to a name that must be free (FileExistsError), in one step where the platform can."""
        if sys.platform == "win32":
            return os.rename(source.name, target.name)
        if not kernel.rename_noreplace(source.name, source.folder, target.name, target.folder):
            try:
                self.link(source, target)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return self._rename_looking_first(source, target)
            self.unlink(source)
        return None

    def _rename_looking_first(self, source: At, target: At) -> None:
        """Do what is left where a file system has neither links nor a rename that spares the target (FAT, some SMB)."""
        try:
            os.stat(target.name, dir_fd=target.folder, follow_symlinks=False)
        except FileNotFoundError:
            return self.replace(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target.name)


DISK = Disk()


class Folder:
    """An open directory; its names are single components."""

    def __init__(self, path: str, full: str, fd: int | None) -> None:
        self.path = path
        self.full = full
        self.fd = fd

    def __enter__(self) -> "Folder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def at(self, name: str) -> At:
        """Say where ``name`` is."""
        return At(name, self.fd) if _DIR_FD else At(os.path.join(self.full, kernel.possible_on_windows(name)), None)

    def open_read(self, name: str) -> int:
        """Open a regular file for reading; anything else (link, device, pipe, folder) is Refused or an OSError."""
        return self._open(name, _READ)

    def open_write(self, name: str) -> int:
        """Open an existing regular file for reading and writing."""
        return self._open(name, os.O_RDWR | _NO_FOLLOW)

    def open_append(self, name: str) -> int:
        """Open an existing regular file for reading and appending."""
        return self._open(name, os.O_RDWR | os.O_APPEND | _NO_FOLLOW)

    def _open(self, name: str, flags: int) -> int:
        at = self.at(name)
        if not _DIR_FD:
            _check_regular(os.lstat(at.name), name)
        fd = os.open(at.name, flags, dir_fd=at.folder)
        try:
            _check_regular(os.fstat(fd), name)
        except errors.Refused:
            os.close(fd)
            raise
        return fd

    def stat(self, name: str) -> os.stat_result | None:
        """Look at a name itself, a link not followed; None when there is none."""
        at = self.at(name)
        try:
            return os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of an existing file against other processes and threads."""
        fd = self.open_append(name)
        try:
            kernel.lock(fd)
            yield
        finally:
            os.close(fd)

    def scan(self) -> list[tuple[str, os.stat_result]]:
        """Return what is in it, by name, links not followed; what vanishes meanwhile is left out."""
        return [(name, seen) for name in self.names() if (seen := self.stat(name)) is not None]

    def names(self) -> list[str]:
        """Return the names in it, in order."""
        return sorted(os.listdir(self.full if self.fd is None else self.fd))


def _check_regular(seen: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(seen.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    if not stat.S_ISREG(seen.st_mode):
        raise errors.Refused("not a regular file", item=name)


class Root:
    """A directory, held open, beneath which everything stays."""

    def __init__(self, path: str | os.PathLike[str], disk: Disk = DISK) -> None:
        self.path = os.path.realpath(path)
        self.disk = disk
        self.top = Folder("", self.path, os.open(self.path, _FOLDER) if _DIR_FD else None)

    def __enter__(self) -> "Root":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.top.close()

    def folder(self, path: str = "") -> Folder:
        """Open an existing folder beneath; the caller closes it.

        Raises FileNotFoundError, NotADirectoryError, or ELOOP where a component is a symbolic link.
        """
        if self.top.fd is None:
            return Folder(path, _real(self.path, path), None)
        fd = kernel.open_beneath(self.top.fd, path, _FOLDER) if path else os.dup(self.top.fd)
        return Folder(path, os.path.join(self.path, path), fd)

    def sync_top(self) -> None:
        """Make the names in the root itself durable."""
        if self.top.fd is not None:
            self.disk.sync(self.top.fd)

    def sync_everything(self) -> bool:
        """Make all written below durable by one call, or return False where the platform has none."""
        if self.top.fd is None or not kernel.has_syncfs():
            return False
        self.disk.sync_all(self.top.fd)
        return True

    def free_space(self) -> int:
        """Return the bytes that are left here for us."""
        return shutil.disk_usage(self.path).free


def made_root(path: str | os.PathLike[str], disk: Disk = DISK) -> Root:
    """Open a root, made durably with its parents where it is missing."""
    full = os.path.abspath(path)
    if not os.path.isdir(full):
        with made_root(os.path.dirname(full), disk) as above:
            with contextlib.suppress(FileExistsError):
                disk.mkdir(above.top.at(os.path.basename(full)))
            above.sync_top()
    return Root(full, disk)


class Folders:
    """The folders of one batch: each opened (or made) once, and made durable together at the end."""

    def __init__(self, root: Root, most: int = 32) -> None:
        self._root = root
        self._most = most
        self._open: OrderedDict[str, Folder] = OrderedDict()
        self.touched: set[str] = set()

    def __enter__(self) -> "Folders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def at(self, path: str) -> Folder:
        """Return an existing folder; it stays open until many others were asked for."""
        folder = self._open.get(path)
        if folder is not None:
            self._open.move_to_end(path)
            return folder
        self._open[path] = folder = self._root.folder(path)
        if len(self._open) > self._most:
            self._open.popitem(last=False)[1].close()
        return folder

    def made(self, path: str) -> Folder:
        """Return a folder, made with its parents where it is missing; durable after ``sync``."""
        try:
            return self.at(path)
        except FileNotFoundError:
            above, _, name = path.rpartition("/")
            parent = self.made(above)
            with contextlib.suppress(FileExistsError):
                self._root.disk.mkdir(parent.at(name))
            self.touched.add(above)
            return self.at(path)

    def sync(self, also: Iterable[tuple[str, str]] = ()) -> None:
        """Make durable the names in all touched folders, and the files ``also`` (folder, name), in few calls."""
        files = list(also)
        self.touched.update(path for path, _ in files)
        if len(self.touched) + len(files) <= FEW or not self._root.sync_everything():
            for path, name in files:
                self._sync_file(self.at(path), name)
            for path in self.touched:
                fd = self.at(path).fd
                if fd is not None:
                    self._root.disk.sync(fd)
        self.touched.clear()

    def _sync_file(self, folder: Folder, name: str) -> None:
        fd = folder.open_write(name)
        try:
            self._root.disk.sync(fd)
        finally:
            os.close(fd)


def _real(top: str, path: str) -> str:
    """Return the full path of a folder, refusing what leads elsewhere, where names are all there is."""
    full = os.path.join(top, *map(kernel.possible_on_windows, path.split("/"))) if path else top
    if not stat.S_ISDIR(os.stat(full).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), full)
    if os.path.normcase(os.path.realpath(full)) != os.path.normcase(full):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), full)
    return full


# Reading


def read_into(fd: int, view: memoryview, offset: int) -> int:
    """Fill ``view`` from ``offset`` on and return how much there was; less only at the end of the file."""
    done = 0
    while done < len(view):
        count = kernel.read_some(fd, view[done:], offset + done)
        if count == 0:
            break
        done += count
    return done


def pieces_of(at: FileRange, buffer: memoryview) -> Iterator[memoryview]:
    """Yield the bytes of a range through one reused buffer; raises SourceChanged when the file is shorter."""
    done = 0
    while done < at.length:
        want = min(len(buffer), at.length - done)
        if read_into(at.file, buffer[:want], at.offset + done) < want:
            raise errors.SourceChanged("the file became shorter while it was read")
        yield buffer[:want]
        done += want
