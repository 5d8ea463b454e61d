"""Listening by inotify(7), which tells when a file is renamed in or closed after writing."""

import asyncio
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dray.agent.bell import Heard, Rings
from dray.agent.journal import Key
from dray.errors import DrayError, LimitReached
from dray.fs import failure

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_ISDIR = 0x1000000, 0x2000000, 0x4000000, 0x40000000
WANTED = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF
FLAGS = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
ROOM = 1 << 18
"""Bytes of events that are read at once."""


class Event(NamedTuple):
    """One event as the kernel tells it."""

    watch: int
    mask: int
    name: str


def events(data: bytes) -> Iterator[Event]:
    """Take a buffer of struct inotify_event apart."""
    offset = 0
    while offset < len(data):
        watch, mask, _, length = struct.unpack_from("iIII", data, offset)
        name = data[offset + 16 : offset + 16 + length].rstrip(b"\0")
        yield Event(watch, mask, os.fsdecode(name))
        offset += 16 + length


class Watches:
    """Which folder each watch of the kernel belongs to; used from several threads."""

    def __init__(self, add: Callable[[str], int], remove: Callable[[int], None]) -> None:
        self._add, self._remove = add, remove
        self._folders: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._folders)

    def add(self, folder: str) -> None:
        """Watch a folder; a folder that was renamed keeps its watch and gets its new name."""
        with self._lock:
            watch = self._add(folder)
            before = self._folders.get(watch, folder)
            if before != folder and self._watches.get(before) == watch:
                del self._watches[before]
            self._folders[watch], self._watches[folder] = folder, watch

    def folder(self, watch: int) -> str | None:
        """Return the folder of a watch."""
        return self._folders.get(watch)

    def drop(self, watch: int) -> None:
        """Forget a watch that the kernel has ended."""
        with self._lock:
            folder = self._folders.pop(watch, None)
            if folder is not None and self._watches.get(folder) == watch:
                del self._watches[folder]

    def leave(self, folder: str) -> None:
        """End the watches of a folder that moved away, and of those below."""
        with self._lock:
            below = [path for path in self._watches if path == folder or path.startswith(folder + "/")]
            for path in below:
                watch = self._watches.pop(path)
                self._folders.pop(watch, None)
                self._remove(watch)


class Inotify:
    """A bell that rings at once. Folders that are made later are watched when they are looked through.

    ``created`` is how many seconds a file that was only created is left alone: mostly its end is heard meanwhile.
    ``say`` is told once when the kernel allows no more watches. With ``deletions`` it rings for names that go, too.
    """

    name = "inotify"
    trusted = True

    def __init__(self, root: str, created: float, say: Callable[[str], None], deletions: bool = False) -> None:
        self._root = root
        self._delay, self._say, self._deletions = created, say, deletions
        self._wanted = WANTED | (IN_DELETE if deletions else 0)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watches = Watches(self._add, self._remove)
        self._heard = Heard()
        self._created: dict[Key, float] = {}
        self._flush: asyncio.TimerHandle | None = None
        self._full = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def watch(self, folder: str) -> None:
        """Listen to a folder from now on; one that vanished meanwhile is none."""
        try:
            self._watches.add(folder)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._loop.call_soon_threadsafe(self._no_more)
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
                raise

    async def rings(self) -> Rings:
        """Wait until something was heard and return all of it."""
        return await self._heard.take()

    def close(self) -> None:
        """Stop listening."""
        self._loop.remove_reader(self._fd)
        if self._flush is not None:
            self._flush.cancel()
        os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, ROOM)
        except BlockingIOError:
            return
        for event in events(data):
            self._handle(event)
        self._heard.tell()

    def _handle(self, event: Event) -> None:
        if event.mask & IN_Q_OVERFLOW:
            self._heard.rings.lost = True
            return
        folder = self._watches.folder(event.watch)
        if event.mask & IN_IGNORED:
            self._watches.drop(event.watch)
        elif folder is None:
            return
        elif event.mask & (IN_DELETE_SELF | IN_UNMOUNT):
            self._heard.rings.lost = self._heard.rings.lost or not folder
        elif event.mask & IN_ISDIR:
            self._folder(Key(folder, event.name), event.mask)
        else:
            self._file(Key(folder, event.name), event.mask)

    def _folder(self, key: Key, mask: int) -> None:
        if mask & IN_DELETE:
            self._heard.rings.hear(key, "found")
        elif mask & IN_MOVED_FROM:
            self._watches.leave(key.path)
            # What was in it has gone with it, which only looking through everything finds.
            self._heard.rings.lost = self._heard.rings.lost or self._deletions
        elif mask & (IN_CREATE | IN_MOVED_TO):
            self._heard.rings.folders[key.path] = "renamed" if mask & IN_MOVED_TO else "found"

    def _file(self, key: Key, mask: int) -> None:
        if mask & IN_CREATE:
            self._create(key)
        elif self._deletions and mask & (IN_DELETE | IN_MOVED_FROM):
            self._created.pop(key, None)
            self._heard.rings.hear(key, "found")
        elif mask & (IN_CLOSE_WRITE | IN_MOVED_TO):
            self._created.pop(key, None)
            self._heard.rings.hear(key, "renamed" if mask & IN_MOVED_TO else "closed")
        else:
            self._created.pop(key, None)

    def _create(self, key: Key) -> None:
        self._created[key] = self._loop.time() + self._delay
        if self._flush is None:
            self._flush = self._loop.call_later(self._delay, self._flush_created)

    def _flush_created(self) -> None:
        """Tell of files whose end was not heard in time."""
        now = self._loop.time()
        late = [key for key, when in self._created.items() if when <= now]
        for key in late:
            del self._created[key]
            self._heard.rings.hear(key, "found")
        more = bool(self._created)
        self._flush = self._loop.call_later(self._delay, self._flush_created) if more else None
        self._heard.tell()

    def _no_more(self) -> None:
        if not self._full:
            self._full, self.trusted = True, False
            self._say(
                f"{len(self._watches)} folders are watched and the system allows no more; new files in the others are "
                "found by looking (more: sysctl fs.inotify.max_user_watches)"
            )

    def _add(self, folder: str) -> int:
        path = os.fsencode(os.path.join(self._root, folder))
        return self._check(self._libc.inotify_add_watch(self._fd, path, self._wanted | FLAGS))

    def _remove(self, watch: int) -> None:
        # The kernel may have ended it already, that is what was wanted.
        self._libc.inotify_rm_watch(self._fd, watch)

    def _check(self, result: int) -> int:
        if result >= 0:
            return result
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def listen(root: str, created: float, say: Callable[[str], None], deletions: bool = False) -> Inotify:
    """Make the bell; raises LimitReached when the system allows no more of them."""
    try:
        return Inotify(root, created, say, deletions)
    except OSError as error:
        raise _refusal(error) from error


def _refusal(error: OSError) -> DrayError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LimitReached("no more inotify instances", hint="raise sysctl fs.inotify.max_user_instances")
    return failure(error)
