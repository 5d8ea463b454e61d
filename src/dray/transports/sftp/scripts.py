"""What is done at the server for one item, as scripts of a connection (``connection.Script``)."""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from crc32c import crc32c

from dray import fs
from dray.errors import Conflict, Disconnected, DrayError, NoSpace, SourceChanged, Temporary
from dray.fs import FileRange
from dray.transports.sftp import wire
from dray.transports.sftp.connection import Powers, Script
from dray.transports.sftp.wire import Attrs, Reply, Request

R = TypeVar("R")
Take: TypeAlias = Callable[[int, bytes], object]
"""Is given bytes of a file and where in it they lie."""

SMALL = 1 << 16
"""Bytes up to which a file is read into memory to be sent; longer ones go from file to pipe within the kernel."""

READING = 256
"""Pieces that are asked for at once when a file is read back."""


def look(path: bytes) -> Script[Attrs | None]:
    """Look at a name itself; None when it is free."""
    (reply,) = yield [wire.lstat(path)]
    if reply.code == wire.NO_SUCH_FILE:
        return None
    return wire.attrs_of(wire.check(reply, "look at the destination").body)[0]


def remove(path: bytes) -> Script[None]:
    """Remove a file; one that is not there is removed already."""
    (reply,) = yield [wire.remove(path)]
    if reply.code != wire.NO_SUCH_FILE:
        wire.check(reply, "remove")


def opened(path: bytes, flags: int, mode: int | None = None) -> Script[bytes]:
    """Open a file and return its handle, ready to be sent."""
    (reply,) = yield [wire.open_file(path, flags, mode)]
    if reply.kind != wire.HANDLE:
        raise (yield from refusal(reply, "open", posixpath.dirname(path)))
    return reply.body


def refusal(reply: Reply, what: str, folder: bytes, needed: int = 1) -> Script[DrayError]:
    """Return why something could not be written, asking for the space that is left where the server does not tell."""
    if reply.code != wire.FAILURE:
        return wire.failure(reply, what)
    (found,) = yield [wire.space(folder)]
    if found.kind != wire.EXTENDED_REPLY:
        return Temporary(f"{what}: the server says only that it failed; its disk may be full")
    left = wire.space_of(found)
    if left.free < needed or left.names == 0:
        return NoSpace(f"{what}: no space left at the destination")
    return Temporary(f"{what}: the server says only that it failed, with {left.free} bytes free; it may be a quota")


def closing(handles: Sequence[bytes], script: Script[R]) -> Script[R]:
    """Do something with open files, and close them."""
    try:
        result = yield from script
    except DrayError:
        yield map(wire.close, handles)
        raise
    yield map(wire.close, handles)
    return result


# Folders


def make_folder(path: bytes, mode: int | None, *, durable: bool) -> Script[list[bytes]]:
    """Make a folder with its parents where they are missing; return those that were made."""
    (reply,) = yield [wire.stat(path)]
    if reply.code == wire.OK:
        _check_folder(wire.attrs_of(reply.body)[0])
        return []
    above = posixpath.dirname(path)
    if reply.code != wire.NO_SUCH_FILE or above == path:
        raise wire.failure(reply, "look at a folder")
    made = yield from make_folder(above, mode, durable=durable)
    (reply,) = yield [wire.make_folder(path, mode)]
    if reply.code != wire.OK:
        yield from _made_meanwhile(path, reply)
    if durable:
        yield from sync_folder(above)
    return [*made, path]


def _made_meanwhile(path: bytes, reply: Reply) -> Script[None]:
    (seen,) = yield [wire.stat(path)]
    if seen.code != wire.OK:
        raise (yield from refusal(reply, "make a folder", posixpath.dirname(path)))
    _check_folder(wire.attrs_of(seen.body)[0])


def _check_folder(seen: Attrs) -> None:
    if not seen.is_folder:
        raise Conflict("something that is no folder has the name of one of its folders")


def check_above(folder: bytes) -> Script[bool]:
    """Say whether a folder is there; Conflict where one above it, or it, is something else."""
    (reply,) = yield [wire.stat(folder)]
    if reply.code == wire.OK:
        _check_folder(wire.attrs_of(reply.body)[0])
        return True
    above = posixpath.dirname(folder)
    if reply.code != wire.NO_SUCH_FILE or above == folder:
        raise wire.failure(reply, "look at a folder")
    yield from check_above(above)
    return False


def sync_folder(path: bytes) -> Script[bool]:
    """Make the names in a folder durable; False where the server cannot."""
    (reply,) = yield [wire.open_file(path, wire.TO_READ)]
    if reply.kind != wire.HANDLE:
        return False
    done, _ = yield [wire.sync(reply.body), wire.close(reply.body)]
    return done.code == wire.OK


def sync_file(path: bytes) -> Script[bool]:
    """Make a file durable; False where there is none."""
    return (yield from sync_folder(path))


def names(path: bytes) -> Script[list[tuple[bytes, Attrs]]]:
    """Return what is in a folder; nothing when there is none."""
    (reply,) = yield [wire.open_folder(path)]
    if reply.code == wire.NO_SUCH_FILE:
        return []
    handle = wire.check(reply, "list").body
    found: list[tuple[bytes, Attrs]] = []
    while reply.code != wire.EOF:
        # Several at once: each brings some hundred names at most.
        for reply in (yield [wire.read_folder(handle)] * 4):
            if reply.kind == wire.NAME:
                found += wire.names_of(reply)
            elif reply.code != wire.EOF:
                yield [wire.close(handle)]
                raise wire.failure(reply, "list")
    yield [wire.close(handle)]
    return [(name, attrs) for name, attrs in found if name not in (b".", b"..")]


# Bytes


class Outgoing:
    """The questions that write a range of a local file, and the crc32c of what they took from it."""

    def __init__(self, at: FileRange, longest: int) -> None:
        self._at = at
        self._longest = longest
        self.crc = 0

    def to(self, handle: bytes, offset: int) -> Iterator[Request]:
        """Yield a question a piece; raises SourceChanged where the file became shorter."""
        at = self._at
        if at.length <= SMALL:
            yield from self._from_memory(handle, offset)
            return
        buffer = memoryview(bytearray(min(self._longest, at.length)))
        for done in range(0, at.length, self._longest):
            piece = FileRange(at.file, at.offset + done, min(self._longest, at.length - done))
            if fs.read_into(at.file, buffer[: piece.length], piece.offset) < piece.length:
                raise _shorter()
            self.crc = crc32c(buffer[: piece.length], self.crc)
            yield wire.write(handle, offset + done, piece)

    def _from_memory(self, handle: bytes, offset: int) -> Iterator[Request]:
        data = fs.read_at(self._at.file, self._at.length, self._at.offset)
        if len(data) < self._at.length:
            raise _shorter()
        self.crc = crc32c(data)
        for done in range(0, len(data), self._longest):
            yield wire.write(handle, offset + done, data[done : done + self._longest])


def _shorter() -> DrayError:
    return SourceChanged("the file became shorter while it was sent")


def followed(requests: Iterable[Request], *last: Request) -> Iterator[Request]:
    """Yield questions, then more."""
    yield from requests
    yield from last


def failed(replies: Iterable[Reply]) -> Reply | None:
    """Return the first failure."""
    return next((reply for reply in replies if reply.code != wire.OK), None)


def pieces(handle: bytes, at: range, longest: int, take: Take) -> Script[list[range]]:
    """Read a range of an open file; ``take`` gets each piece with its offset. Return what did not come."""

    def sink(one: range) -> wire.Sink:
        def took(data: bytes) -> None:
            take(one.start, data)
            came[one.start] = len(data)

        return took

    came: dict[int, int] = {}
    wanted = [at[start : start + longest] for start in range(0, len(at), longest)]
    replies = yield [wire.read(handle, one.start, len(one), sink(one)) for one in wanted]
    for reply in replies:
        if reply.kind != wire.DATA and reply.code != wire.EOF:
            raise wire.failure(reply, "read")
    return [one[came.get(one.start, 0) :] for one in wanted if came.get(one.start, 0) < len(one)]


def fetch(handle: bytes, at: range, powers: Powers, take: Take) -> Script[None]:
    """Read all of a range of an open file, in any order; Disconnected where the file is shorter."""
    left = [at] if at else []
    while left:
        short: list[range] = []
        for wanted in left:
            short += yield from pieces(handle, wanted, powers.read, take)
        if sum(map(len, short)) >= sum(map(len, left)):
            raise Disconnected("the file is shorter than it was said to be")
        left = short


class InOrder:
    """Passes on what is read in the order of the file, whatever order it comes in; ``size`` is how much was passed."""

    def __init__(self, take: Callable[[bytes], object], begin: int = 0) -> None:
        self._take = take
        self._early: dict[int, bytes] = {}
        self.size = begin

    def take(self, offset: int, data: bytes) -> None:
        """Take the bytes at an offset."""
        self._early[offset] = data
        while some := self._early.pop(self.size, b""):
            self._take(some)
            self.size += len(some)


def read_back(path: bytes, powers: Powers, *, sync: bool, whole: bool) -> Script[tuple[Attrs, str] | None]:
    """Make a file durable and read it again (``whole``); return what it is and its sha256, None when there is none."""
    (reply,) = yield [wire.open_file(path, wire.TO_READ)]
    if reply.code == wire.NO_SUCH_FILE:
        return None
    handle = wire.check(reply, "read back").body
    return (yield from closing([handle], _read_open(handle, powers, sync=sync, whole=whole)))


def _read_open(handle: bytes, powers: Powers, *, sync: bool, whole: bool) -> Script[tuple[Attrs, str]]:
    if sync:
        (done,) = yield [wire.sync(handle)]
        wire.check(done, "make durable")
    (reply,) = yield [wire.look_open(handle)]
    seen = wire.attrs_of(wire.check(reply, "read back").body)[0]
    digest = hashlib.sha256()
    in_order = InOrder(digest.update)
    step = powers.read * READING
    for start in range(0, seen.size if whole else 0, step):
        yield from fetch(handle, range(start, min(start + step, seen.size)), powers, in_order.take)
    return seen, digest.hexdigest() if whole else ""
