"""What a request sends and where its answer goes, as libcurl asks for it: byte strings and ranges of open files."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from crc32c import crc32c

from dray import fs
from dray.errors import Disconnected, IntegrityFailure, PieceDamaged, SourceChanged
from dray.fs import Disk, FileRange

Part = bytes | FileRange
GATHER = 256 << 10  # bytes gathered before they are written: stays in the processor's cache
LARGEST_ANSWER = 64 << 20  # bytes of an answer that is kept in memory


def joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the same bytes with ranges that follow one another in the same file made one, empty ones left out."""
    last: FileRange | None = None
    for part in parts:
        if last and isinstance(part, FileRange) and (part.file, part.offset) == (last.file, last.offset + last.length):
            last = FileRange(last.file, last.offset, last.length + part.length)
            continue
        if last and last.length:
            yield last
        last = part if isinstance(part, FileRange) else None
        if isinstance(part, bytes) and part:
            yield part
    if last and last.length:
        yield last


def size(part: Part) -> int:
    """Return the length of a part in bytes."""
    return part.length if isinstance(part, FileRange) else len(part)


def _slice(part: Part, at: int, count: int) -> bytes:
    if isinstance(part, bytes):
        return part[at : at + count]
    return fs.read_at(part.file, count, part.offset + at)


class Source:
    """The body of a request, read in order; may be rewound when libcurl repeats the request on a fresh connection.

    With ``crc32c`` its last bytes are not let go unless all of it has that: what differs never arrives whole.
    """

    def __init__(self, parts: Sequence[Part], crc32c: int | None = None) -> None:
        self._parts = list(joined(parts))
        self.length = sum(map(size, self._parts))
        self._wanted = crc32c
        self._crc = self._read = 0
        self.seek(0)

    def seek(self, offset: int) -> None:
        """Continue at ``offset`` of the whole body; what is checked is only ever rewound to its beginning."""
        self._crc = self._read = 0
        self._index = 0
        while self._index < len(self._parts) and offset >= size(self._parts[self._index]):
            offset -= size(self._parts[self._index])
            self._index += 1
        self._at = offset

    def read(self, most: int) -> bytes:
        """Return at most ``most`` more bytes; empty at the end. Raises SourceChanged when a file became shorter."""
        if self._index == len(self._parts):
            return b""
        part = self._parts[self._index]
        count = min(most, size(part) - self._at)
        data = (
            fs.read_at(part.file, count, part.offset + self._at)
            if isinstance(part, FileRange)
            else part[self._at :][:count]
        )
        if not data:
            raise SourceChanged("the file became shorter while it was sent", hint="it is tried again as it is now")
        self._check(data)
        self._advance(len(data), size(part))
        return data

    def _check(self, data: bytes) -> None:
        if self._wanted is None:
            return
        self._crc = crc32c(data, self._crc)
        self._read += len(data)
        if self._read == self.length and self._crc != self._wanted:
            raise PieceDamaged(f"the bytes were read as {self._crc:08x}, they were to be {self._wanted:08x}")

    def _advance(self, count: int, whole: int) -> None:
        self._at += count
        if self._at == whole:
            self._index += 1
            self._at = 0


class Kept:
    """Keeps an answer in memory, up to a limit."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        if len(self._data) + len(data) > LARGEST_ANSWER:
            raise IntegrityFailure(f"the server's answer is longer than {LARGEST_ANSWER} bytes")
        self._data += data

    def taken(self) -> bytes:
        """Return what came."""
        return bytes(self._data)


class Taking:
    """Hands an answer on, many bytes at once."""

    def __init__(self, take: Callable[[memoryview], None]) -> None:
        self._take = take
        self._held = 0
        self._buffer = memoryview(bytearray(GATHER))

    def write(self, data: bytes) -> None:
        if self._held + len(data) > GATHER:
            self.close()
        if len(data) > GATHER:
            self._take(memoryview(data))
            return
        self._buffer[self._held : self._held + len(data)] = data
        self._held += len(data)

    def close(self) -> None:
        """Hand on what is left."""
        if self._held:
            self._take(self._buffer[: self._held])
            self._held = 0


class Filling:
    """Writes an answer into ranges of open files, one after another, and computes crc32c of each."""

    def __init__(self, ranges: Sequence[FileRange], disk: Disk) -> None:
        self._ranges = ranges
        self._disk = disk
        self._index = 0
        self._written = 0  # bytes of the present range that are in its file
        self._held = 0  # bytes in the buffer
        self._buffer = memoryview(bytearray(GATHER))
        self._crc = 0
        self.crcs: list[int] = []
        self._pass_full()

    def write(self, data: bytes) -> None:
        """Take the next bytes of the answer; raises IntegrityFailure when there are more than asked for."""
        view = memoryview(data)
        while view:
            if self._index == len(self._ranges):
                raise IntegrityFailure("the server sent more bytes than the file has")
            count = min(len(view), self._room())
            self._buffer[self._held : self._held + count] = view[:count]
            self._held += count
            view = view[count:]
            if not self._room():
                self._flush()

    def close(self) -> None:
        """Raise Disconnected unless every range is full."""
        if self._index < len(self._ranges):
            raise Disconnected("the answer ended before all bytes came")

    def _room(self) -> int:
        return min(GATHER - self._held, self._ranges[self._index].length - self._written - self._held)

    def _flush(self) -> None:
        at, data = self._ranges[self._index], self._buffer[: self._held]
        self._disk.pwrite(at.file, data, at.offset + self._written)
        self._crc = crc32c(data, self._crc)
        self._written += self._held
        self._held = 0
        self._pass_full()

    def _pass_full(self) -> None:
        while self._index < len(self._ranges) and self._written == self._ranges[self._index].length:
            self.crcs.append(self._crc)
            self._index += 1
            self._written = self._crc = 0
