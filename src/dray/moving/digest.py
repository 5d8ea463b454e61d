"""Reads source files once, in order, through one reused buffer: small ones into a spool, large ones part by part."""

import hashlib
import os
import time
from collections.abc import Sequence

from crc32c import crc32c

from dray import fs
from dray.clock import SystemClock
from dray.errors import DrayError, SourceChanged
from dray.fs import FileRange
from dray.model.checksum import Checksum
from dray.model.names import printable
from dray.model.parts import Part
from dray.model.values import SourceVersion
from dray.moving.item import Content, Item
from dray.moving.spool import Spool
from dray.moving.writers import is_local, refuse_writers

TICK = 0.02
"""Seconds within which two changes of a file can get the same time, on systems that count it in coarse steps."""


def version_of(seen: os.stat_result) -> SourceVersion:
    """Return what makes an opened file the same file."""
    return SourceVersion(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def check_version(fd: int, item: Item) -> None:
    """Raise SourceChanged unless the opened file is the version that the item names."""
    if version_of(os.fstat(fd)).token() != item.version:
        raise SourceChanged("the file changed since it was looked at", hint="its new version is tried next")


def begin(fd: int, item: Item, *, local: bool) -> None:
    """Make sure that the opened file is the version that the item names and that any change from now on will show.

    ``local`` says that nobody but this machine writes to its file system. Raises SourceChanged, SourceBusy. Blocks.
    """
    check_version(fd, item)
    outwait_tick(os.fstat(fd))
    if local:
        refuse_writers(fd)


def outwait_tick(seen: os.stat_result) -> None:
    """Wait until a further change of a file gets another time than the last one. Blocks for TICK at most."""
    age = SystemClock().wall() - seen.st_ctime
    if 0 <= age < TICK:
        time.sleep(TICK - age)


def gather(root: str, items: Sequence[Item], spool: Spool, disk: fs.Disk) -> list[Content | DrayError]:
    """Copy whole files into the spool, hashing what is copied; a failed one is an error in its place. Blocks."""
    writer = SpoolWriter(spool, disk)
    with fs.Root(root, disk) as top, fs.Folders(top) as folders:
        local = is_local(top.path)
        found = [_attempt(folders, writer, item, local) for item in items]
    writer.flush()
    return found


def _attempt(folders: fs.Folders, writer: "SpoolWriter", item: Item, local: bool) -> Content | DrayError:
    try:
        folder, _, name = item.origin.rpartition("/")
        fd = folders.at(folder).open_read(name)
        try:
            begin(fd, item, local=local)
            content = writer.take(fd, item.size)
            check_version(fd, item)
            return content
        finally:
            os.close(fd)
    except OSError as error:
        return fs.failure(error, printable(item.path))
    except DrayError as error:
        return error


class SpoolWriter:
    """Packs files into a spool with few writes: many small ones share one buffer."""

    def __init__(self, spool: Spool, disk: fs.Disk) -> None:
        self._spool = spool
        self._disk = disk
        self._buffer = memoryview(bytearray(fs.BUFFER))
        self._begin = 0
        self._used = 0

    def take(self, fd: int, size: int) -> Content:
        """Append the whole file and return where it lies and what it has; SourceChanged when it is shorter."""
        digest, crc, done = hashlib.sha256(), 0, 0
        begin = self._begin + self._used
        while done < size:
            view = self._read(fd, done, size - done)
            digest.update(view)
            crc = crc32c(view, crc)
            done += len(view)
        return Content(FileRange(self._spool.file, begin, size), Checksum("sha256", digest.hexdigest()), crc)

    def _read(self, fd: int, offset: int, left: int) -> memoryview:
        if self._used == len(self._buffer):
            self.flush()
        view = self._buffer[self._used :][:left]
        count = fs.read_into(fd, view, offset)
        if count < len(view):
            raise SourceChanged("the file became shorter while it was read")
        self._used += count
        return view

    def flush(self) -> None:
        """Write what the buffer holds."""
        if self._used:
            at = self._spool.reserve(self._used)
            self._disk.pwrite(at.file, self._buffer[: self._used], at.offset)
            self._begin, self._used = self._begin + self._used, 0


class Pass:
    """One in-order pass over an open file: the crc32c of each part, and in the end the sha256 of all. Blocks."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._digest = hashlib.sha256()
        self._buffer = memoryview(bytearray(fs.BUFFER))

    def part(self, part: Part) -> int:
        """Read the next part and return its crc32c; SourceChanged when the file is shorter."""
        crc = 0
        for view in fs.pieces_of(FileRange(self._fd, part.offset, part.length), self._buffer):
            self._digest.update(view)
            crc = crc32c(view, crc)
        return crc

    def checksum(self) -> Checksum:
        """Return the digest of everything read so far."""
        return Checksum("sha256", self._digest.hexdigest())
