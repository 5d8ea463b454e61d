"""The bytes of SFTP version 3 (draft-ietf-secsh-filexfer-02) and of OpenSSH's extensions (its PROTOCOL, section 4)."""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from dray.errors import Conflict, Disconnected, DrayError, Forbidden, NotFound, Permanent, Unreachable
from dray.fs import FileRange
from dray.model.values import Value

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = (
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
)
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201

TO_READ, TO_WRITE, TO_APPEND, MAKE = 1, 2, 4, 8
"""Flags of OPEN. A file is never truncated or made exclusively: what is there is overwritten with the same bytes."""

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4
BAD_MESSAGE, NO_CONNECTION, CONNECTION_LOST, UNSUPPORTED = 5, 6, 7, 8

_SIZE, _OWNER, _MODE, _TIMES, _MORE = 1, 2, 4, 8, 0x80000000
_KINDS = 0o170000
_FOLDER, _FILE = 0o040000, 0o100000
LONGEST = 1 << 24
"""Bytes of a message that no server sends; it is no SFTP then."""

LENGTH = struct.Struct(">I")
HEAD = struct.Struct(">IBI")
_TWO = struct.Struct(">II")
_SIZED = struct.Struct(">Q")
_SPACE = struct.Struct(">11Q")

Sink: TypeAlias = Callable[[bytes], object]


class Request(NamedTuple):
    """One question: ``data`` (bytes, or a range of a local file) ends it, ``sink`` takes the bytes of a DATA reply."""

    kind: int
    body: bytes
    data: bytes | FileRange | None = None
    sink: Sink | None = None


class Reply(NamedTuple):
    """One answer without its request number."""

    kind: int
    body: bytes

    @property
    def code(self) -> int:
        """Return the code of a STATUS; OK for a reply that brings what was asked for."""
        return int(LENGTH.unpack_from(self.body)[0]) if self.kind == STATUS else OK


class Attrs(NamedTuple):
    """What the server says of a file; times in seconds."""

    size: int
    mode: int
    mtime: int
    atime: int = 0

    @property
    def is_file(self) -> bool:
        """Say whether it is a regular file."""
        return self.mode & _KINDS == _FILE

    @property
    def is_folder(self) -> bool:
        """Say whether it is a directory."""
        return self.mode & _KINDS == _FOLDER


class Space(Value, frozen=True):
    """What is left on a file system, for this account; ``names`` counts new files."""

    free: int
    names: int


# What is asked


def text(data: bytes) -> bytes:
    """Return a string with its length before it."""
    return LENGTH.pack(len(data)) + data


def open_file(path: bytes, flags: int, mode: int | None = None) -> Request:
    """Ask for a handle; ``mode`` is what a new file gets, less the server's umask."""
    return Request(OPEN, text(path) + LENGTH.pack(flags) + _mode(mode))


def close(handle: bytes) -> Request:
    """Give a handle back."""
    return Request(CLOSE, handle)


def read(handle: bytes, offset: int, length: int, sink: Sink | None = None) -> Request:
    """Ask for bytes; fewer may come."""
    return Request(READ, handle + _SIZED.pack(offset) + LENGTH.pack(length), None, sink)


def write(handle: bytes, offset: int, data: bytes | FileRange) -> Request:
    """Write bytes, all or none."""
    length = data.length if isinstance(data, FileRange) else len(data)
    return Request(WRITE, handle + _SIZED.pack(offset) + LENGTH.pack(length), data)


def lstat(path: bytes) -> Request:
    """Look at a name itself."""
    return Request(LSTAT, text(path))


def stat(path: bytes) -> Request:
    """Look at what a name leads to."""
    return Request(STAT, text(path))


def look_open(handle: bytes) -> Request:
    """Look at an open file."""
    return Request(FSTAT, handle)


def change_open(handle: bytes, times: tuple[int, int] | None, mode: int | None = None) -> Request:
    """Set times (of access and change) and mode of an open file."""
    return Request(FSETSTAT, handle + _changes(times, mode))


def change(path: bytes, times: tuple[int, int] | None, mode: int | None = None) -> Request:
    """Set times (of access and change) and mode of a file."""
    return Request(SETSTAT, text(path) + _changes(times, mode))


def _changes(times: tuple[int, int] | None, mode: int | None) -> bytes:
    flags = (_TIMES if times is not None else 0) | (_MODE if mode is not None else 0)
    body = LENGTH.pack(flags) + (LENGTH.pack(mode) if mode is not None else b"")
    return body + (_TWO.pack(*times) if times is not None else b"")


def _mode(mode: int | None) -> bytes:
    return _changes(None, mode)


def open_folder(path: bytes) -> Request:
    """Ask for a handle of a directory, to read names from."""
    return Request(OPENDIR, text(path))


def read_folder(handle: bytes) -> Request:
    """Ask for the next names."""
    return Request(READDIR, handle)


def remove(path: bytes) -> Request:
    """Remove a file."""
    return Request(REMOVE, text(path))


def make_folder(path: bytes, mode: int | None = None) -> Request:
    """Make a directory."""
    return Request(MKDIR, text(path) + _mode(mode))


def remove_folder(path: bytes) -> Request:
    """Remove an empty directory."""
    return Request(RMDIR, text(path))


def read_link(path: bytes) -> Request:
    """Ask what a symbolic link says."""
    return Request(READLINK, text(path))


def make_link(path: bytes, target: bytes) -> Request:
    """Make a symbolic link; the order of the two is OpenSSH's, not that of the draft."""
    return Request(SYMLINK, text(target) + text(path))


def real_path(path: bytes) -> Request:
    """Ask for the absolute form of a path."""
    return Request(REALPATH, text(path))


def rename(source: bytes, target: bytes) -> Request:
    """Give a file a name that must be free."""
    return Request(RENAME, text(source) + text(target))


def replace(source: bytes, target: bytes) -> Request:
    """Give a file a name, whoever has it."""
    return _extended(b"posix-rename@openssh.com", text(source) + text(target))


def link(source: bytes, target: bytes) -> Request:
    """Give a file a second name, which must be free."""
    return _extended(b"hardlink@openssh.com", text(source) + text(target))


def sync(handle: bytes) -> Request:
    """Make an open file durable; a directory that was opened like a file, too."""
    return _extended(b"fsync@openssh.com", handle)


def space(path: bytes) -> Request:
    """Ask what is left on a file system."""
    return _extended(b"statvfs@openssh.com", text(path))


def limits() -> Request:
    """Ask for the largest messages."""
    return _extended(b"limits@openssh.com", b"")


def _extended(name: bytes, body: bytes) -> Request:
    return Request(EXTENDED, text(name) + body)


# What is answered


def strings(body: bytes, at: int = 0) -> Sequence[bytes]:
    """Take a sequence of strings apart."""
    found = []
    while at + 4 <= len(body):
        end = at + 4 + int(LENGTH.unpack_from(body, at)[0])
        found.append(body[at + 4 : end])
        at = end
    return found


def attrs_of(body: bytes, at: int = 0) -> tuple[Attrs, int]:
    """Read attributes and return them with where they end; what is not told is 0."""
    (flags,) = LENGTH.unpack_from(body, at)
    at += 4
    size = mode = mtime = atime = 0
    if flags & _SIZE:
        (size,), at = _SIZED.unpack_from(body, at), at + 8
    if flags & _OWNER:
        at += 8
    if flags & _MODE:
        (mode,), at = LENGTH.unpack_from(body, at), at + 4
    if flags & _TIMES:
        (atime, mtime), at = _TWO.unpack_from(body, at), at + 8
    if flags & _MORE:
        count, at = int(LENGTH.unpack_from(body, at)[0]), at + 4
        for _ in range(2 * count):
            at += 4 + int(LENGTH.unpack_from(body, at)[0])
    return Attrs(size, mode, mtime, atime), at


def names_of(reply: Reply) -> list[tuple[bytes, Attrs]]:
    """Read a NAME reply: file names and attributes."""
    (count,), at, found = LENGTH.unpack_from(reply.body), 4, []
    for _ in range(count):
        end = at + 4 + int(LENGTH.unpack_from(reply.body, at)[0])
        name = reply.body[at + 4 : end]
        attrs, at = attrs_of(reply.body, end + 4 + int(LENGTH.unpack_from(reply.body, end)[0]))
        found.append((name, attrs))
    return found


def space_of(reply: Reply) -> Space:
    """Read the answer to ``space``."""
    fields = _SPACE.unpack_from(reply.body)
    return Space(fields[1] * fields[4], fields[7])


def limits_of(reply: Reply) -> tuple[int, int, int]:
    """Return the longest READ and WRITE in bytes, and how many handles may be open (0: not told)."""
    fields = struct.unpack_from(">4Q", reply.body)
    return fields[1], fields[2], fields[3]


_FAILURES: dict[int, tuple[type[DrayError], str]] = {
    NO_SUCH_FILE: (NotFound, "there is no such file"),
    PERMISSION_DENIED: (Forbidden, "the server refuses access"),
    BAD_MESSAGE: (Permanent, "the server does not take this name or request"),
    NO_CONNECTION: (Unreachable, "the server lost its connection"),
    CONNECTION_LOST: (Unreachable, "the server lost its connection"),
    UNSUPPORTED: (Permanent, "the server does not know this request"),
    FAILURE: (Conflict, "the server says only that it failed"),
}


def failure(reply: Reply, what: str) -> DrayError:
    """Return the error that a STATUS stands for; ``what`` was to be done."""
    cls, words = _FAILURES.get(reply.code, (Permanent, f"the server answers with code {reply.code}"))
    return cls(f"{what}: {words}")


def check(reply: Reply, what: str) -> Reply:
    """Return a reply that is no failure, or raise what it stands for."""
    if reply.code != OK:
        raise failure(reply, what)
    return reply


def damaged(what: str) -> DrayError:
    """Return the error for bytes that are no SFTP."""
    return Disconnected(f"this is no SFTP: {what}", hint="something prints text at login, or it is no SFTP server")
