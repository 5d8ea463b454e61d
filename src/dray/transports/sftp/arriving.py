"""What is on its way to a place behind ssh: staged files and their side files (``transports/sidefile.py``).

A staged file is never truncated and never made exclusively: whoever writes it, however often and at once, writes the
bytes of one version of one source to the same places, so that it can only become what it is to be.
"""

import msgspec

from dray.errors import Conflict, DrayError, Forbidden, IntegrityFailure, NotFound, PieceDamaged, Refused, Temporary
from dray.model.parts import part_count, plan_part_size
from dray.model.values import Held, Level, Limits, Receipt, Staged, Value
from dray.transports.base import Piece
from dray.transports.refs import Target
from dray.transports.sftp import scripts, wire
from dray.transports.sftp.connection import Powers, Script
from dray.transports.sftp.layout import Layout, seconds
from dray.transports.sftp.wire import Reply
from dray.transports.sidefile import SideFile, record

PERMISSIONS = 0o777
"""Bits of a mode that are kept: none that lets a program run as somebody else."""

OWN = 0o600
_SIDE = wire.TO_WRITE | wire.TO_APPEND


class Arriving(Value, frozen=True):
    """The scripts that bring bytes; ``level`` is that of the parts of larger files once their script has ended.

    ``now`` (seconds) is noted as the time of the last access of what is staged: its other time is the source's.
    """

    layout: Layout
    limits: Limits
    powers: Powers
    level: Level
    now: int
    file_mode: int | None = None
    keep_mode: bool = False

    def is_whole(self, target: Target) -> bool:
        """Say whether the file is one piece: written again from the start, with no side file."""
        return target.size <= self.limits.piece

    # Begin or resume

    def resume(self, target: Target, staged: Staged) -> Script[Staged]:
        """Begin a larger file, or say which of its parts are durable."""
        seen = yield from scripts.look(self.layout.staged(target))
        side = yield from self._side(target)
        if seen is None and side.size is not None:
            yield from scripts.remove(self.layout.side(target))
            side = SideFile()
        if side.size not in (None, target.size):
            raise Conflict(f"another size ({side.size}) is staged under this version", hint="give a new version")
        part_size = side.part_size or (yield from self._begin(target))
        held = tuple(sorted(side.held.values(), key=lambda one: one.offset))
        return msgspec.structs.replace(staged, part_size=part_size, held=held)

    def _begin(self, target: Target) -> Script[int]:
        """Make the staged file and its side file, so that the names of both are durable before the first part is."""
        part_size = plan_part_size(target.size, self.limits)
        staged, side = self.layout.staged(target), self.layout.side(target)
        handle = yield from self._made(staged, wire.TO_WRITE)
        yield [wire.close(handle)]
        handle = yield from self._made(side, _SIDE)
        yield from scripts.closing([handle], self._append(handle, f"size {target.size} {part_size}"))
        if self._durably:
            yield from scripts.sync_folder(self.layout.staging_of(target))
        return part_size

    def _made(self, path: bytes, flags: int) -> Script[bytes]:
        """Open a staged file, made where it is missing."""
        try:
            return (yield from scripts.opened(path, flags | wire.MAKE, self.file_mode))
        except Forbidden:
            # What a crash left may have the mode of a source that nobody may write to.
            yield [wire.change(path, None, OWN)]
            return (yield from scripts.opened(path, flags | wire.MAKE, self.file_mode))
        except NotFound:
            raise Temporary("the folder of what is staged was removed", hint="it is made again") from None

    @property
    def _durably(self) -> bool:
        return self.level != "service"

    def _append(self, handle: bytes, line: str) -> Script[None]:
        """Add a line to an open side file, durably where that is wanted."""
        requests = [wire.write(handle, 0, record(line))]
        replies = yield [*requests, wire.sync(handle)] if self._durably else requests
        bad = scripts.failed(replies)
        if bad is not None:
            raise (yield from scripts.refusal(bad, "note a part", self.layout.staging))

    def _side(self, target: Target) -> Script[SideFile]:
        """Read what the side file says now; nothing when there is none."""
        (reply,) = yield [wire.open_file(self.layout.side(target), wire.TO_READ)]
        if reply.code == wire.NO_SUCH_FILE:
            return SideFile()
        handle = wire.check(reply, "read which parts are held").body
        return (yield from scripts.closing([handle], self._side_of(handle)))

    def _side_of(self, handle: bytes) -> Script[SideFile]:
        """Read an open side file, with one question where it is as short as they are."""
        look, first = yield [wire.look_open(handle), wire.read(handle, 0, self.powers.read)]
        size = wire.attrs_of(wire.check(look, "read which parts are held").body)[0].size
        data = bytearray(size)

        def take(offset: int, some: bytes) -> None:
            data[offset : offset + len(some)] = some

        begin = first.body[4 : 4 + size] if first.kind == wire.DATA else b""
        take(0, begin)
        yield from scripts.fetch(handle, range(len(begin), size), self.powers, take)
        side = SideFile()
        side.feed(bytes(data))
        return side

    # Write

    def put(self, target: Target, piece: Piece) -> Script[Receipt]:
        """Write one piece, whichever it is."""
        return self._whole(target, piece) if self.is_whole(target) else self._part(target, piece)

    def _whole(self, target: Target, piece: Piece) -> Script[Receipt]:
        """Write a file of one piece; it becomes durable when it is verified."""
        if (piece.number, piece.offset, piece.at.length) != (1, 0, target.size):
            raise Refused(f"the file is one piece of {target.size} bytes")
        path = self.layout.staged(target)
        handle = yield from self._made(path, wire.TO_WRITE)
        bytes_ = scripts.Outgoing(piece.at, self.powers.write)
        try:
            replies = yield scripts.followed(bytes_.to(handle, 0), *self._last(handle, target))
        except DrayError:
            yield [wire.close(handle), wire.remove(path)]
            raise
        bad = scripts.failed(replies)
        if bad is not None:
            error = yield from scripts.refusal(bad, "write", self.layout.staging, target.size)
        elif piece.crc32c in (None, bytes_.crc):
            return Receipt(target.ref, 1, target.size, bytes_.crc, "service")
        else:
            error = _damaged(piece, bytes_.crc)
        yield [wire.remove(path)]
        raise error

    def _last(self, handle: bytes, target: Target) -> list[wire.Request]:
        """Return what follows the bytes of a file of one piece."""
        times, mode = self.attributes(target)
        change = [] if times is None and mode is None else [wire.change_open(handle, times, mode)]
        return [*change, wire.close(handle)]

    def attributes(self, target: Target) -> tuple[tuple[int, int] | None, int | None]:
        """Return the times and the mode that a file is to have, as far as it is to have any."""
        times = None if target.mtime_ns is None else (self.now, seconds(target.mtime_ns))
        return times, target.mode & PERMISSIONS if self.keep_mode and target.mode is not None else None

    def _part(self, target: Target, piece: Piece) -> Script[Receipt]:
        """Write a part of a larger file durably, unless it is held."""
        places = self.layout.staged(target), self.layout.side(target), self.layout.final(target.path)
        staged, side, final = yield [
            wire.open_file(places[0], wire.TO_WRITE),
            wire.open_file(places[1], wire.TO_READ | _SIDE),
            wire.lstat(places[2]),
        ]
        handles = [reply.body for reply in (staged, side) if reply.kind == wire.HANDLE]
        return (yield from scripts.closing(handles, self._opened_part(target, piece, staged, side, final)))

    def _opened_part(self, target: Target, piece: Piece, staged: Reply, side: Reply, final: Reply) -> Script[Receipt]:
        known = (yield from self._side_of(side.body)) if side.kind == wire.HANDLE else SideFile()
        held = _held(known, target, piece, self.limits)
        if held is not None:
            return self._again(target, held, piece.crc32c)
        if staged.code == wire.NO_SUCH_FILE and _has_size(final, target.size):
            # Somebody else published what was staged; ``verify`` looks at that.
            return Receipt(target.ref, piece.number, piece.at.length, piece.crc32c or 0, "service")
        for reply in (staged, side):
            if reply.code == wire.NO_SUCH_FILE:
                raise gone()
            if reply.kind != wire.HANDLE:
                raise (yield from scripts.refusal(reply, "open", self.layout.staging))
        crc = yield from self._bytes_of_part(staged.body, piece)
        yield from self._append(side.body, f"part {piece.number} {piece.offset} {piece.at.length} {crc:08x}")
        return Receipt(target.ref, piece.number, piece.at.length, crc, self.level)

    def _bytes_of_part(self, handle: bytes, piece: Piece) -> Script[int]:
        """Write and flush; the last answer is waited for before anything says that the part is there."""
        outgoing = scripts.Outgoing(piece.at, self.powers.write)
        last = [wire.sync(handle)] if self._durably else []
        replies = yield scripts.followed(outgoing.to(handle, piece.offset), *last)
        bad = scripts.failed(replies)
        if bad is not None:
            raise (yield from scripts.refusal(bad, "write", self.layout.staging, piece.at.length))
        if piece.crc32c not in (None, outgoing.crc):
            raise _damaged(piece, outgoing.crc)
        return outgoing.crc

    def _again(self, target: Target, held: Held, crc: int | None) -> Receipt:
        if crc != held.crc32c:
            raise Conflict(f"part {held.number} is held with other bytes", hint="cancel the upload and begin anew")
        return Receipt(target.ref, held.number, held.length, held.crc32c, self.level)

    def sweep(self, before: float) -> Script[int]:
        """Remove what was staged before a time, and nobody came back for; return how much."""
        old: list[bytes] = []
        for folder in self.layout.staging_folders():
            found = yield from scripts.names(folder)
            old += [folder + b"/" + name for name, seen in found if max(seen.atime, seen.mtime) < before]
        if old:
            yield map(wire.remove, old)
        return len(old)

    def discard(self, target: Target) -> Script[None]:
        """Remove what is staged; a thing that is not there is removed already."""
        yield from scripts.remove(self.layout.staged(target))
        if not self.is_whole(target):
            yield from scripts.remove(self.layout.side(target))


def gone() -> IntegrityFailure:
    """Return the failure of a file of which what was staged is not there: it is to be sent anew."""
    return IntegrityFailure("what was staged of it was removed at the destination", hint="it is sent anew")


def _damaged(piece: Piece, crc: int) -> PieceDamaged:
    return PieceDamaged(f"part {piece.number} was read as {crc:08x}, it was to be {piece.crc32c or 0:08x}")


def _has_size(reply: Reply, size: int) -> bool:
    return reply.kind == wire.ATTRS and wire.attrs_of(reply.body)[0].size == size


def _held(side: SideFile, target: Target, piece: Piece, limits: Limits) -> Held | None:
    """Say whether the part is durable, or raise Refused when the plan has no such part."""
    size = side.part_size or plan_part_size(target.size, limits)
    begin = (piece.number - 1) * size
    planned = (begin, min(size, target.size - begin))
    if not 1 <= piece.number <= part_count(target.size, size) or planned != (piece.offset, piece.at.length):
        raise Refused(f"part {piece.number} is not {piece.at.length} bytes at {piece.offset}; parts have {size} bytes")
    return side.held.get(piece.number)
