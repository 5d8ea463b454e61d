"""The folder for Dray's own files in a directory that somebody fills, gone again when nobody needs it."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from dray import fs
from dray.errors import Busy
from dray.model.names import RESERVED

try:
    import fcntl

    LOCKS = True
except ImportError:
    LOCKS = False

TRIES = 100


@contextmanager
def nest(directory: str) -> Iterator[None]:
    """Make ``.dray`` below ``directory`` (and that) and remove it afterwards, unless it holds something or is shared.

    A shared lock says that it is used. Where there are no such locks it stays. Blocks.
    """
    path = os.path.join(directory, RESERVED)
    try:
        held = _hold(path)
    except OSError as error:
        raise fs.failure(error, path) from error
    try:
        yield
    finally:
        if held is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            os.close(held)


def _hold(path: str) -> int | None:
    for _ in range(TRIES):
        with fs.made_root(path):
            pass
        if not LOCKS:
            return None
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if _is_still(fd, path):
                return fd
            os.close(fd)
    raise Busy("another command keeps removing it", item=path)


def _is_still(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    """Remove folders from the bottom up; one that holds a file stays, and those above it."""
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
