"""Disks that fail at the n-th operation: killed there, torn, refused, or cut from power with what was not synced."""

import contextlib
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dray.fs import At, Disk

OPERATIONS = [name for name in vars(Disk) if not name.startswith("_") and name != "ensure"]


class SimulatedCrash(BaseException):
    """The process is gone: nothing catches this, and the disk does nothing any more."""


class FaultyDisk(Disk):
    """Counts operations in ``log`` and lets the n-th one fail: with ``fault``, or half done when ``torn``."""

    def __init__(self, n: int = 0, fault: BaseException | None = None, *, torn: bool = False) -> None:
        self.n = n
        self.fault = fault or SimulatedCrash()
        self.torn = torn
        self.dead = False
        self.log: list[str] = []
        self.lock = threading.RLock()

    def run(self, name: str, *arguments: Any) -> Any:
        with self.lock:
            if self.dead:
                raise SimulatedCrash
            self.log.append(name)
            if len(self.log) == self.n:
                self.dead = isinstance(self.fault, SimulatedCrash)
                if self.torn and "write" in name:
                    fd, data, *offset = arguments
                    getattr(Disk, name)(self, fd, bytes(data)[: len(data) // 2], *offset)
                raise self.fault
            return self.done(name, *arguments)

    def done(self, name: str, *arguments: Any) -> Any:
        return getattr(Disk, name)(self, *arguments)


def _counted(name: str) -> Callable[..., Any]:
    def method(self: FaultyDisk, *arguments: Any) -> Any:
        return self.run(name, *arguments)

    return method


for _name in OPERATIONS:
    setattr(FaultyDisk, _name, _counted(_name))


class PowerDisk(FaultyDisk):
    """Remembers what was made durable, so that ``cut`` can take away any of the rest.

    The model is harsher than real file systems: the bytes of each file and each single directory entry are lost or
    kept independently of each other; an entry is at any of its values since its directory was synced.
    """

    def __init__(self, graveyard: Path, n: int = 0) -> None:
        super().__init__(n)
        graveyard.mkdir()
        self.graveyard = graveyard
        self.bytes: dict[int, bytes] = {}
        self.dirty: set[int] = set()
        self.names: dict[tuple[str, str], list[int | str | None]] = {}

    def done(self, name: str, *arguments: Any) -> Any:
        return getattr(self, f"on_{name}")(*arguments)

    def on_create(self, at: At) -> int:
        fd = Disk.create(self, at)
        inode = self.bury(at)
        self.bytes[inode] = b""
        self.note(at, None, inode)
        return fd

    def bury(self, at: At) -> int:
        """Keep a second name of a file, under which it can rise again."""
        inode = os.lstat(path_of(at)).st_ino
        with contextlib.suppress(FileExistsError):
            os.link(path_of(at), self.graveyard / str(inode), follow_symlinks=False)
        return inode

    def on_write(self, fd: int, data: bytes) -> None:
        Disk.write(self, fd, data)
        self.dirty.add(os.fstat(fd).st_ino)

    def on_pwrite(self, fd: int, data: bytes, offset: int) -> None:
        Disk.pwrite(self, fd, data, offset)
        self.dirty.add(os.fstat(fd).st_ino)

    def on_set_mtime(self, fd: int, at: At, mtime_ns: int) -> None:
        Disk.set_mtime(self, fd, at, mtime_ns)

    def on_sync(self, fd: int) -> None:
        self.settle(fd)

    def on_sync_data(self, fd: int) -> None:
        self.settle(fd)

    def settle(self, fd: int) -> None:
        inode = os.fstat(fd).st_ino
        if inode in self.bytes:
            self.bytes[inode] = (self.graveyard / str(inode)).read_bytes()
            self.dirty.discard(inode)
        else:
            folder = os.readlink(f"/proc/self/fd/{fd}")
            for (above, _), values in self.names.items():
                if above == folder:
                    del values[:-1]

    def on_sync_all(self, fd: int) -> None:
        for inode in self.dirty:
            self.bytes[inode] = (self.graveyard / str(inode)).read_bytes()
        self.dirty.clear()
        for values in self.names.values():
            del values[:-1]

    def on_mkdir(self, at: At) -> None:
        Disk.mkdir(self, at)
        self.note(at, None, "folder")

    def on_rmdir(self, at: At) -> None:
        Disk.rmdir(self, at)
        self.note(at, "folder", None)

    def on_symlink(self, target: str, at: At) -> None:
        Disk.symlink(self, target, at)
        self.note(at, None, self.bury(at))

    def on_unlink(self, at: At) -> None:
        inode = self.bury(at)
        Disk.unlink(self, at)
        self.note(at, inode, None)

    def on_link(self, source: At, target: At) -> None:
        Disk.link(self, source, target)
        self.note(target, None, self.bury(target))

    def on_rename(self, source: At, target: At) -> None:
        Disk.rename(self, source, target)
        self.moved(source, target, None)

    def on_replace(self, source: At, target: At) -> None:
        before = self.bury(target) if os.path.exists(path_of(target)) else None
        Disk.replace(self, source, target)
        self.moved(source, target, before)

    def moved(self, source: At, target: At, before: int | None) -> None:
        inode = self.bury(target)
        self.note(source, inode, None)
        self.note(target, before, inode)

    def note(self, at: At, before: int | str | None, after: int | str | None) -> None:
        path = path_of(at)
        self.names.setdefault((os.path.dirname(path), os.path.basename(path)), [before]).append(after)

    def cut(self, dice: random.Random, keep: float) -> None:
        """Take away what was not synced; each thing is kept with probability ``keep``."""
        for inode in self.dirty:
            if dice.random() >= keep:
                (self.graveyard / str(inode)).write_bytes(torn(dice, self.graveyard / str(inode), self.bytes[inode]))
        for (folder, name), values in sorted(self.names.items()):
            value = values[-1] if dice.random() < keep else dice.choice(values)
            if os.path.isdir(folder):
                self.become(Path(folder, name), value)

    def become(self, path: Path, value: int | str | None) -> None:
        if value == "folder":
            path.mkdir(exist_ok=True)
            return
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if value is not None:
            os.link(self.graveyard / str(value), path, follow_symlinks=False)


def torn(dice: random.Random, file: Path, durable: bytes) -> bytes:
    """Return what may be left of a file: the old bytes with some blocks of the new, and the old or the new length."""
    new = file.read_bytes()
    size = dice.choice([len(durable), len(new)])
    blocks = range(0, size, 512)
    old = durable.ljust(size, b"\0")
    return b"".join((new if dice.random() < 0.5 else old)[at : at + 512].ljust(0) for at in blocks)[:size]


def path_of(at: At) -> str:
    folder = os.readlink(f"/proc/self/fd/{at.folder}") if at.folder is not None else ""
    return os.path.join(folder, at.name)
