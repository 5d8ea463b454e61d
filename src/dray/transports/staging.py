"""Bytes on their way into a posix place: staged files, and who may write which part of them."""

import contextlib
import os
import threading
from collections.abc import Callable, Container, Sequence
from types import TracebackType

from crc32c import crc32c

from dray import fs, kernel
from dray.clock import SystemClock
from dray.errors import Busy, Conflict, Disconnected, NotFound, PieceDamaged, Refused
from dray.model.parts import Part, part_count, plan_part_size
from dray.model.values import Held, Limits, Receipt, Ref
from dray.transports.base import Piece
from dray.transports.guard import Grip, Guard
from dray.transports.refs import Target, target_of
from dray.transports.sidefile import SUFFIX, SideFile, SideFiles

FAN = "0123456789abcdef"


class Lent:
    """One part of a staged file, lent to whoever brings its bytes in order, until it is closed.

    ``held`` when it is durable already. Left by an exception, a file of one piece is removed again.
    """

    __slots__ = ("_grip", "_staging", "crc", "done", "fd", "held", "part", "target")

    def __init__(self, staging: "Staging", target: Target, part: Part, grip: Grip) -> None:
        self._staging = staging
        self._grip = grip
        self.target = target
        self.part = part
        self.crc = 0
        self.done = 0
        self.fd, self.held = staging.open_part(target, part)

    def __enter__(self) -> "Lent":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(keep=not isinstance(error, Exception))

    @property
    def is_held(self) -> bool:
        """Say whether the part is durable already; then its bytes are not written again."""
        return self.held is not None

    def take(self, view: memoryview) -> None:
        """Write the next bytes; Refused beyond the part's end."""
        if self.done + len(view) > self.part.length:
            raise Refused(f"more than the {self.part.length} bytes of part {self.part.number} came")
        if self.held is None:
            self._staging.disk.pwrite(self.fd, view, self.part.offset + self.done)
        self.crc = crc32c(view, self.crc)
        self.done += len(view)

    def receipt(self, expected: int | None) -> Receipt:
        """Check what was brought, make it durable and say so.

        A part that is held is receipted again for the same crc32c only, otherwise Conflict. A file of one piece becomes
        durable when it is verified. Raises PieceDamaged, or Disconnected when bytes are missing.
        """
        return self._staging.receipt(self, expected)

    def close(self, *, keep: bool) -> None:
        """Give the part back; without ``keep`` a file of one piece is removed."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        try:
            os.close(fd)
            if not keep and self._staging.is_whole(self.target):
                self._staging.unlink(self.target)
        finally:
            self._grip.release()


def _nobody(target: Target) -> None:
    """Stand in where nobody follows what is staged."""


class Staging:
    """The staging directory of a place. Calls block; any number of threads, and other processes, may make them.

    ``followed`` is told of each larger file that has one more durable part, ``forgotten`` when there are none any more.
    """

    def __init__(self, root: fs.Root, limits: Limits, guard: Guard) -> None:
        self.root = root
        self.disk = root.disk
        self.limits = limits
        self.guard = guard
        self.doubtful = False
        self.followed: Callable[[Target], None] = _nobody
        self.forgotten: Callable[[Target], None] = _nobody
        self._since = SystemClock().wall()
        self._syncing = threading.Lock()
        self._sides = SideFiles(self.disk)
        with fs.Folders(root) as folders:
            for digit in FAN:
                folders.made(digit)
            folders.sync()
        self._folders = {digit: root.folder(digit) for digit in FAN}

    def close(self) -> None:
        """Close the folders; staged files stay for the next one to resume."""
        for folder in (*self._folders.values(), self.root.top):
            folder.close()

    def folder(self, target: Target) -> fs.Folder:
        """Return the open folder in which a target is staged."""
        return self._folders[target.name[0]]

    def at(self, target: Target) -> fs.At:
        """Say where a target is staged."""
        return self.folder(target).at(target.name)

    def stat(self, target: Target) -> os.stat_result | None:
        """Look at what is staged."""
        return self.folder(target).stat(target.name)

    def local(self, target: Target) -> str:
        """Return the full path of the staged file."""
        return os.path.join(self.folder(target).full, target.name)

    def is_whole(self, target: Target) -> bool:
        """Say whether the file is one piece: written again from the start, with no side file."""
        return target.size <= self.limits.piece

    def stage(self, target: Target) -> tuple[int, tuple[Held, ...]]:
        """Begin or resume; returns the part size and the durable parts."""
        if self.is_whole(target):
            return self.limits.piece, ()
        if self.stat(target) is None:
            self.forget(target)
        side = self.side(target)
        part_size = side.part_size or self._begin(target)
        return part_size, tuple(sorted(side.held.values(), key=lambda held: held.offset))

    def _begin(self, target: Target) -> int:
        """Make the staged file and its side file, so that the names of both are durable before the first part is."""
        folder = self.folder(target)
        part_size = plan_part_size(target.size, self.limits)
        self.disk.ensure(self.at(target))
        self._sides.begin(folder, target.name, target.size, part_size)
        if folder.fd is not None:
            self.disk.sync(folder.fd)
        return part_size

    def side(self, target: Target) -> SideFile:
        """Return what is known of a larger file: which parts are durable, and which file that is said of."""
        side = self._sides.read(self.folder(target), target.name)
        if side.size not in (None, target.size):
            raise Conflict(f"another size ({side.size}) is staged under this version", hint="give a new version")
        return side

    def lend(self, ref: Ref, part: Part) -> Lent:
        """Lend one part to whoever brings its bytes; nobody else gets it until it is closed.

        Raises Busy when somebody has it, NotFound when nothing is staged, Refused when there is no such part.
        """
        target = target_of(ref)
        grip = self.guard.take(target.name, part.number)
        try:
            return Lent(self, target, part, grip)
        except BaseException:
            grip.release()
            raise

    def open_part(self, target: Target, part: Part) -> tuple[int, Held | None]:
        """Open the staged file for one part, locked against other processes, and say whether it is held."""
        if self.is_whole(target):
            return self._create(target, part), None
        self._held(target, part)
        fd = self._open(target)
        try:
            if not kernel.lock_range(fd, part.offset, part.length):
                raise Busy("another process is writing this part")
            return fd, self._held(target, part)
        except BaseException:
            os.close(fd)
            raise

    def _create(self, target: Target, part: Part) -> int:
        """Make the staged file of one piece anew; what a crash left under its name is dropped."""
        if part != (1, 0, target.size):
            raise Refused(f"the file is one piece of {target.size} bytes")
        try:
            return self.disk.create(self.at(target))
        except FileExistsError:
            self.disk.unlink(self.at(target))
            return self.disk.create(self.at(target))

    def _open(self, target: Target) -> int:
        try:
            return self.folder(target).open_write(target.name)
        except FileNotFoundError:
            raise NotFound("nothing is staged under this ref") from None

    def _held(self, target: Target, part: Part) -> Held | None:
        """Say whether the part is durable, or raise Refused when the plan has no such part."""
        side = self.side(target)
        size = side.part_size or plan_part_size(target.size, self.limits)
        begin = (part.number - 1) * size
        planned = (begin, min(size, target.size - begin))
        if not 1 <= part.number <= part_count(target.size, size) or planned != (part.offset, part.length):
            raise Refused(f"part {part.number} is not {part.length} bytes at {part.offset}; parts have {size} bytes")
        return side.held.get(part.number)

    def receipt(self, lent: Lent, expected: int | None) -> Receipt:
        """Do what ``Lent.receipt`` says."""
        target, part, held = lent.target, lent.part, lent.held
        if held is not None:
            return self._again(target, held, expected)
        if lent.done < part.length:
            raise Disconnected(f"only {lent.done} of {part.length} bytes came")
        if expected not in (None, lent.crc):
            raise PieceDamaged(f"part {part.number} arrived as {lent.crc:08x}, it was sent as {expected:08x}")
        if not self.is_whole(target):
            return self._record(target, part, lent.crc, lent.fd)
        if target.mtime_ns is not None:
            self.disk.set_mtime(lent.fd, self.at(target), target.mtime_ns)
        return Receipt(target.ref, part.number, part.length, lent.crc, "service")

    def _again(self, target: Target, held: Held, crc: int | None) -> Receipt:
        if crc != held.crc32c:
            raise Conflict(f"part {held.number} is held with other bytes", hint="cancel the upload and begin anew")
        return Receipt(target.ref, held.number, held.length, held.crc32c, "durable")

    def _record(self, target: Target, part: Part, crc: int, fd: int) -> Receipt:
        self.disk.sync_data(fd)
        line = f"part {part.number} {part.offset} {part.length} {crc:08x}"
        self._sides.append(self.folder(target), target.name, line)
        self.followed(target)
        return Receipt(target.ref, part.number, part.length, crc, "durable")

    def is_in_place(self, piece: Piece) -> bool:
        """Say whether the piece's bytes lie where they belong, because its sender filled the lent staged file."""
        target = target_of(piece.ref)
        if self.is_whole(target) or piece.at.offset != piece.offset:
            return False
        seen = self.stat(target)
        return seen is not None and os.path.samestat(seen, os.fstat(piece.at.file))

    def receipt_in_place(self, piece: Piece) -> Receipt:
        """Make durable and receipt a part that is in place; its crc32c is taken on trust until ``verify``."""
        target, part = target_of(piece.ref), Part(piece.number, piece.offset, piece.at.length)
        if piece.crc32c is None:
            raise Refused("a piece that is in place needs its crc32c")
        with self.guard.take(target.name, part.number):
            held = self._held(target, part)
            if held is not None:
                return self._again(target, held, piece.crc32c)
            return self._record(target, part, piece.crc32c, piece.at.file)

    def sync(self, targets: Sequence[Target]) -> None:
        """Make staged files durable together, by name and content."""
        for target in targets:
            if not self.is_whole(target) and target.mtime_ns is not None:
                self._set_mtime(target, target.mtime_ns)
        try:
            # One at a time: the kernel tells of a failed write once only, and every batch has to hear of it.
            with self._syncing, fs.Folders(self.root) as folders:
                folders.sync((self.folder(target).path, target.name) for target in targets)
        except OSError:
            self.doubtful = True
            for target in targets:
                self._drop(target)
            raise

    def _set_mtime(self, target: Target, mtime_ns: int) -> None:
        fd = self._open(target)
        try:
            self.disk.set_mtime(fd, self.at(target), mtime_ns)
        finally:
            os.close(fd)

    def _drop(self, target: Target) -> None:
        """Remove a file of one piece whose bytes are unknown since making them durable failed; it is sent again.

        The parts of a larger file were made durable one by one: those stay, and ``verify`` reads what the disk has.
        """
        if self.is_whole(target):
            self.unlink(target)

    def may_be_lost(self, seen: os.stat_result) -> bool:
        """Say whether what the page cache has of a file may not be what the disk has, although syncing succeeded.

        So it is after a failed sync, here or perhaps in an earlier process: the kernel then drops the pages' dirt.
        Larger files are always read from the disk itself, since there it costs little.
        """
        return self.doubtful or seen.st_ctime < self._since or seen.st_size > self.limits.piece

    def discard(self, target: Target) -> None:
        """Remove what is staged; a thing that is not there is removed already."""
        with self.guard.take(target.name):
            self.unlink(target)
            self.forget(target)

    def unlink(self, target: Target) -> None:
        """Remove the staged file; one that is not there is removed already."""
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(self.at(target))

    def forget(self, target: Target) -> None:
        """Remove the side file."""
        if not self.is_whole(target):
            self.forgotten(target)
            self._sides.remove(self.folder(target), target.name)

    def tidy(self) -> None:
        """Remove side files whose staged file was published: a crash between the two left them, and nobody looks."""
        for folder in self._folders.values():
            for name in folder.names():
                if name.endswith(SUFFIX) and folder.stat(name.removesuffix(SUFFIX)) is None:
                    self._sides.remove(folder, name.removesuffix(SUFFIX))

    def sweep(self, live: Container[str], before: float) -> int:
        """Remove what nobody is coming back for; returns how many staged files went.

        ``live`` holds the names (``names.staged_name``) to keep; nothing written since ``before`` (wall time) goes.
        """
        gone = 0
        for folder in self._folders.values():
            for name, seen in folder.scan():
                base = name.removesuffix(SUFFIX)
                if base not in live and max(seen.st_mtime, seen.st_ctime) < before:
                    with self.guard.take(base), contextlib.suppress(FileNotFoundError):
                        self.disk.unlink(folder.at(name))
                        gone += name == base
        return gone
