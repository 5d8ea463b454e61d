"""What differs between platforms: system calls that Python does not offer, names that are not names everywhere.

Used by what works on disks. Numbers and structures are those of Linux (openat2(2), renameat2(2), fcntl(2)).
"""

import ctypes
import errno
import functools
import os
import platform
import stat
import struct
import sys
import threading
from typing import Any

from dray import errors

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_ERRORS: dict[type[errors.DrayError], tuple[str, tuple[str, ...]]] = {
    errors.NoSpace: ("no space left", ("ENOSPC", "EDQUOT")),
    errors.LimitReached: ("too large for this file system", ("EFBIG",)),
    errors.Forbidden: ("the operating system refuses access", ("EACCES", "EPERM", "EROFS")),
    errors.NameRefused: ("the name is not possible here", ("ELOOP", "EXDEV", "ENAMETOOLONG", "EILSEQ")),
    errors.NotFound: ("there is no such file", ("ENOENT",)),
    errors.Conflict: ("something else has this name", ("EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY")),
    errors.Temporary: ("the disk or system fails", ("EIO", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EBUSY", "ESTALE")),
}
_BY_NUMBER = {
    getattr(errno, name): cls for cls, (_, names) in _ERRORS.items() for name in names if hasattr(errno, name)
}
_SHARING_VIOLATION = 32

_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS_BENEATH = 0x04 | 0x08
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_SYNCFS_TELLS_ERRORS = (5, 8)


def failure(error: OSError, item: str = "") -> errors.DrayError:
    """Translate an error of the operating system, by one table; ``item`` is the file it is about."""
    if getattr(error, "winerror", None) == _SHARING_VIOLATION:
        return errors.Busy("another program has it open", item=item)
    cls = _BY_NUMBER.get(error.errno or 0, errors.Permanent)
    text = _ERRORS[cls][0] if cls in _ERRORS else "unexpected error"
    return cls(f"{text}: {error.strerror or error}", item=item)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _called(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@functools.cache
def has_openat2() -> bool:
    """Say whether openat2 is there: Linux 5.6, and no sandbox that forbids it."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    try:
        os.close(openat2(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, _AT_FDCWD))
    except (OSError, AttributeError):
        return False
    return True


def openat2(path: str, flags: int, dir_fd: int) -> int:
    """Open an existing ``path`` beneath ``dir_fd``; a symbolic link or a way out anywhere in it is ELOOP or EXDEV."""
    how = _OpenHow(flags, 0, _RESOLVE_NO_SYMLINKS_BENEATH)
    call = _libc().syscall
    return _called(call(_OPENAT2, dir_fd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)))


def open_beneath(top: int, path: str, flags: int) -> int:
    """Open a folder some components below ``top``, none of which may be a link (ELOOP)."""
    return openat2(path, flags, top) if has_openat2() else _walk(top, path, flags)


def _walk(top: int, path: str, flags: int) -> int:
    fd = os.dup(top)
    for component in path.split("/"):
        try:
            below = _step(fd, component, flags)
        finally:
            os.close(fd)
        fd = below
    return fd


def _step(fd: int, component: str, flags: int) -> int:
    if component in ("", ".", ".."):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), component)
    try:
        return os.open(component, flags, dir_fd=fd)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(component, dir_fd=fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), component) from None
        raise


@functools.cache
def _renameat2() -> Any:
    return getattr(_libc(), "renameat2", None) if sys.platform == "linux" else None


def rename_noreplace(source: str, source_dir: int | None, target: str, target_dir: int | None) -> bool:
    """Rename in one step unless the target exists (EEXIST); False where the system cannot."""
    call = _renameat2()
    if call is None:
        return False
    folders = [_AT_FDCWD if fd is None else fd for fd in (source_dir, target_dir)]
    if call(folders[0], os.fsencode(source), folders[1], os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number), source, None, target)


@functools.cache
def has_syncfs() -> bool:
    """Say whether syncfs is there and tells of failed writes (Linux 5.8)."""
    if sys.platform != "linux" or not hasattr(_libc(), "syncfs"):
        return False
    numbers = platform.release().split(".")[:2]
    return tuple(int(n) for n in numbers if n.isdigit()) >= _SYNCFS_TELLS_ERRORS


def syncfs(fd: int) -> None:
    """Make durable everything written to the file system of ``fd``; fails if a write since ``fd`` was opened did."""
    _called(_libc().syncfs(fd))


def fsync(fd: int, *, data_only: bool) -> None:
    """Make one file or directory durable, through the cache of the drive as well."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(fd, full)
    elif data_only and hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def lock_range(fd: int, offset: int, length: int) -> bool:
    """Lock bytes of a file opened for writing until it is closed, or return False when somebody else has them.

    The lock belongs to the open file, not to the process (open file description lock). Where there is no such thing
    it always succeeds.
    """
    command = getattr(fcntl, "F_OFD_SETLK", None)
    if command is None:
        return True
    request = struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, offset, max(length, 1), 0)
    try:
        fcntl.fcntl(fd, command, request)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def lock(fd: int) -> None:
    """Wait for the exclusive lock of an open file or directory; closing it gives the lock back."""
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_EX)


POSITION = threading.Lock()
"""Held while a position is used: where there is no pread, threads that share a descriptor share it."""


def read_at(fd: int, most: int, offset: int) -> bytes:
    """Return at most ``most`` bytes from ``offset`` on; none at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(fd, most, offset)
    with POSITION:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, most)


def read_some(fd: int, view: memoryview, offset: int) -> int:
    """Read into ``view`` and return how many bytes; 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return os.preadv(fd, [view], offset)
    data = read_at(fd, len(view), offset)
    view[: len(data)] = data
    return len(data)


def bypass_cache(fd: int, *, bypass: bool = True) -> bool:
    """Have an open file read from the disk itself, or no longer; False where the file system cannot.

    Reads then need a buffer, an offset and a length that are multiples of a disk block.
    """
    flag, command = getattr(os, "O_DIRECT", 0), getattr(fcntl, "F_GETFL", None)
    if not flag or command is None:
        return False
    flags = fcntl.fcntl(fd, command)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | flag if bypass else flags & ~flag)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


_DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}


def possible_on_windows(name: str) -> str:
    """Return ``name``, or raise where Windows would take it for another one (device, stream, folder, stripped end)."""
    strange = set(name) & set('\\:<>"|?*') or min(name, default=" ") < " " or name[-1:] in (".", " ")
    if strange or name.partition(".")[0].rstrip(" ").lower() in _DEVICES:
        raise OSError(errno.EILSEQ, "Windows does not allow this name", name)
    return name
