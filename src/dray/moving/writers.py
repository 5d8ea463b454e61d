"""Whether somebody has a file open for writing, and where that can be told."""

import errno
import os
import re
import signal
import sys

from dray.errors import SourceBusy
from dray.fs import Folder

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

MOUNTS = "/proc/self/mountinfo"
LOCAL = frozenset(
    (
        *("bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs", "ntfs3", "overlay"),
        *("ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"),
    )
)
"""File systems that only this machine writes to: events and leases tell everything there."""


def is_local(path: str, mounts: str = MOUNTS) -> bool:
    """Say whether nobody but this machine writes to the file system of a real path; assumed where nothing tells."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            return kind_of(path, list(lines)) in LOCAL
    except OSError:
        return False


def kind_of(path: str, lines: list[str]) -> str:
    """Return the type of the file system of a path, from the lines of proc_pid_mountinfo(5)."""
    best, kind = -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
        below = path == point or path.startswith(point.rstrip("/") + "/")
        if below and len(point) >= best:
            best, kind = len(point), rest.split(" ")[0]
    return kind


def open_for_writing(folder: Folder, name: str) -> bool | None:
    """Say whether any process has a file open for writing, None where that cannot be told."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fd = folder.open_read(name)
    except OSError:
        return None
    try:
        return has_writer(fd)
    finally:
        os.close(fd)


def has_writer(fd: int) -> bool | None:
    """Say whether any process has a file that is open for reading here open, or mapped, for writing.

    Linux refuses a read lease (fcntl(2)) while that is so; we hold one for a moment only. It tells the owner of the
    file alone, and nothing on a network file system, where the refusal means something else.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # Somebody who opens the file in this moment makes the kernel signal us; this signal is ignored by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False


def refuse_writers(fd: int) -> None:
    """Raise SourceBusy while any process has a file open for writing.

    What is written through a mapping, or by one long call, leaves the times of a file as they are, so that nobody could
    tell afterwards what was read.
    """
    if has_writer(fd):
        raise SourceBusy("a program has it open for writing", hint="close it there, then it is taken at the next try")
