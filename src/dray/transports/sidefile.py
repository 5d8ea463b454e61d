"""The side file of a larger staged file: which of its parts are durable.

``<staged>.parts`` is a text file that only grows: the line ``size SIZE PART_SIZE BIRTH CHECK``,
then a line ``part NUMBER OFFSET LENGTH CRC32C CHECK`` for every part that is durable. CHECK is the crc32c of the line
up to it, so that a torn or foreign line counts as none. Numbers are decimal, checksums 8 hex digits, BIRTH is random:
it tells a file from one that was begun anew, which may get even the same inode. Every record is written with a newline
on both sides, so that it does not run into a torn one.
"""

import contextlib
import os
import secrets
import threading
from collections import OrderedDict

from crc32c import crc32c

from dray import fs
from dray.model.values import Held

SUFFIX = ".parts"
HEAD = 128
"""Bytes that surely hold the first line."""
REMEMBERED = 256


class SideFile:
    """What is known of one side file; ``refresh`` reads only what was appended since, by whatever process."""

    def __init__(self, birth: tuple[int, bytes] = (0, b"")) -> None:
        self.birth = birth
        self.part_size: int | None = None
        self.size: int | None = None
        self.held: dict[int, Held] = {}
        self._read_to = 0

    def refresh(self, fd: int) -> None:
        """Read new lines; what does not bear its own checksum is no line."""
        buffer = memoryview(bytearray(max(0, os.fstat(fd).st_size - self._read_to)))
        self._read_to += self.feed(bytes(buffer[: fs.read_into(fd, buffer, self._read_to)]))

    def feed(self, data: bytes) -> int:
        """Take what was read, and return how many bytes of it were whole lines."""
        end = data.rfind(b"\n") + 1
        for line in data[:end].split(b"\n"):
            self._take(line)
        return end

    def _take(self, line: bytes) -> None:
        text, _, check = line.rpartition(b" ")
        if not text or check != _check(text):
            return
        kind, *words = text.split(b" ")
        if kind == b"size":
            self.size, self.part_size = int(words[0]), int(words[1])
        elif kind == b"part":
            number, offset, length = (int(word) for word in words[:3])
            self.held.setdefault(number, Held(number, offset, length, int(words[3], 16)))


def _check(text: bytes) -> bytes:
    return b"%08x" % crc32c(text)


def record(text: str) -> bytes:
    """Return a line as it is written."""
    data = text.encode()
    return b"\n%s %s\n" % (data, _check(data))


def _birth(fd: int) -> tuple[int, bytes]:
    """Return what tells this file from any other one that ever had its name."""
    _, _, line = fs.read_at(fd, HEAD, 0).partition(b"\n")
    return os.fstat(fd).st_ino, line.partition(b"\n")[0]


class SideFiles:
    """The side files of a staging directory, by the name of the staged file. Calls block; threads may share it."""

    def __init__(self, disk: fs.Disk) -> None:
        self._disk = disk
        self._known: OrderedDict[str, SideFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, folder: fs.Folder, name: str) -> SideFile:
        """Return what the side file says now; nothing when there is none."""
        try:
            fd = folder.open_read(name + SUFFIX)
        except FileNotFoundError:
            return SideFile()
        try:
            with self._lock:
                side = self._recall(name, _birth(fd))
                side.refresh(fd)
                return side
        finally:
            os.close(fd)

    def _recall(self, name: str, birth: tuple[int, bytes]) -> SideFile:
        side = self._known.get(name)
        if side is None or side.birth != birth:
            self._known[name] = side = SideFile(birth)
        self._known.move_to_end(name)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return side

    def begin(self, folder: fs.Folder, name: str, size: int, part_size: int) -> None:
        """Make the side file with its first line; its name is durable when the caller has synced the folder."""
        self._disk.ensure(folder.at(name + SUFFIX))
        self.append(folder, name, f"size {size} {part_size} {secrets.token_hex(8)}")

    def append(self, folder: fs.Folder, name: str, text: str) -> None:
        """Add a line to an existing side file, durably."""
        fd = folder.open_append(name + SUFFIX)
        try:
            self._disk.write(fd, record(text))
            self._disk.sync_data(fd)
        finally:
            os.close(fd)

    def remove(self, folder: fs.Folder, name: str) -> None:
        """Remove a side file; one that is not there is removed already."""
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(folder.at(name + SUFFIX))
        with self._lock:
            self._known.pop(name, None)
