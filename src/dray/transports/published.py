"""The final names of a posix place, and the older versions it keeps.

Content that is published over stays under ``.dray/versions/<2 hex>/<32 hex of the path's sha256>/<tag>``, linked there
before the new content gets the name. A tag is ``inode-size-mtime`` in hex: what a reader was told and finds again.
"""

import contextlib
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dray import fs
from dray.errors import Busy, Conflict, DrayError, NotFound, SourceChanged
from dray.model.names import RESERVED, RemotePath, refusal
from dray.model.values import Entry
from dray.transports.refs import Target, entry_of, tag_of
from dray.transports.staging import Staging

T = TypeVar("T")
R = TypeVar("R")

VERSIONS = f"{RESERVED}/versions"
REMEMBERED = 4096


def each(items: Sequence[T], work: Callable[[T], R]) -> list[R | DrayError]:
    """Do the work for each item; a failed one is an error in its place."""
    return [attempt(work, item) for item in items]


def attempt(work: Callable[[T], R], item: T) -> R | DrayError:
    """Do the work for one item and return what came of it, failures translated."""
    try:
        return work(item)
    except DrayError as error:
        return error
    except OSError as error:
        return fs.failure(error)


class Published:
    """The published side of a place. Calls block; any number of threads and processes may make them."""

    def __init__(self, root: fs.Root, staging: Staging) -> None:
        self.root = root
        self.disk = root.disk
        self.staging = staging
        self._verified: OrderedDict[str, os.stat_result] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, folders: fs.Folders, path: RemotePath) -> os.stat_result | None:
        """Look at the final name: None when it is free, Conflict when something that is no file has it."""
        try:
            seen = folders.at(path.parent).stat(path.name)
        except FileNotFoundError:
            return None
        if seen is not None and not stat.S_ISREG(seen.st_mode):
            raise Conflict("a folder or something else that is no file has this name")
        return seen

    def open(self, path: RemotePath, tag: str = "") -> int:
        """Open a published file, with ``tag`` this content of it, wherever newer content pushed it.

        Raises NotFound when there is none, SourceChanged when there is, but not this one.
        """
        fd = self._open_final(path)
        if not tag or (fd is not None and tag_of(os.fstat(fd)) == tag):
            if fd is None:
                raise NotFound("there is no such file")
            return fd
        if fd is not None:
            os.close(fd)
        try:
            with self.root.folder(versions_of(path)) as folder:
                return folder.open_read(tag)
        except FileNotFoundError:
            raise (NotFound if fd is None else SourceChanged)("this content is not here any more") from None

    def _open_final(self, path: RemotePath) -> int | None:
        try:
            with self.root.folder(path.parent) as folder:
                return folder.open_read(path.name)
        except FileNotFoundError:
            return None

    def candidates(self, path: RemotePath, size: int, *, older: bool) -> Iterator[tuple[int, str, str]]:
        """Open one after another what may be the content of ``size`` bytes once published here: final, then older.

        Yields (descriptor, folder, name); each is closed when the next is asked for.
        """
        places: list[tuple[str, list[str] | None]] = [(path.parent, [path.name])]
        for folder_path, names in [*places, (versions_of(path), None)] if older else places:
            try:
                folder = self.root.folder(folder_path)
            except FileNotFoundError:
                continue
            with folder:
                for name, seen in folder.scan() if names is None else [(name, folder.stat(name)) for name in names]:
                    if seen is not None and stat.S_ISREG(seen.st_mode) and seen.st_size == size:
                        fd = folder.open_read(name)
                        try:
                            yield fd, folder_path, name
                        finally:
                            os.close(fd)

    def note_verified(self, target: Target, seen: os.stat_result) -> None:
        """Remember which bytes were verified: nothing else may be published under this ref by this process."""
        with self._lock:
            self._verified[target.name] = seen
            if len(self._verified) > REMEMBERED:
                self._verified.popitem(last=False)

    def publish(self, targets: Sequence[Target]) -> list[Entry | DrayError]:
        """Give staged files their final names and make those durable together."""
        with fs.Folders(self.root) as folders:
            answers = each(targets, lambda target: self._place(folders, target))
            over = [index for index, answer in enumerate(answers) if answer is None]
            placed = self._place_over(folders, [targets[index] for index in over]) if over else []
            folders.sync()
        late = iter(placed)
        final = [next(late) if answer is None else answer for answer in answers]
        for target, answer in zip(targets, final, strict=True):
            if isinstance(answer, Entry):
                self.staging.forget(target)
        return final

    def _place(self, folders: fs.Folders, target: Target) -> Entry | None:
        """Rename into a free name; None when content that must be kept has it."""
        with self.staging.guard.take(target.name):
            folder = folders.made(target.path.parent)
            folders.touched.add(folder.path)
            seen = self.staging.stat(target)
            if seen is None:
                return self._already(folders, target)
            self._check_verified(target, seen)
            try:
                self.disk.rename(self.staging.at(target), folder.at(target.path.name))
            except FileExistsError:
                if not self._is_settled(folders, target, seen):
                    return None
            return entry_of(target.path, seen)

    def _check_verified(self, target: Target, seen: os.stat_result) -> None:
        known = self._verified.get(target.name)
        # The time of the last change as well: what is written anew may have inode, size and mtime of what it replaced.
        if known is not None and (tag_of(known), known.st_ctime_ns) != (tag_of(seen), seen.st_ctime_ns):
            raise Busy("it was written again after it was verified", hint="it is verified again")

    def _is_settled(self, folders: fs.Folders, target: Target, seen: os.stat_result) -> bool:
        """Deal with a name that is taken; False when its content must be kept first."""
        final = self.look(folders, target.path)
        if final is not None and os.path.samestat(final, seen):
            # A rename that a power cut left half done on a file system that keeps no order.
            self.disk.unlink(self.staging.at(target))
            return True
        if target.on_exists == "fail":
            raise Conflict("there is another file with this name", hint="nothing was changed")
        if target.on_exists == "replace":
            self.disk.replace(self.staging.at(target), folders.at(target.path.parent).at(target.path.name))
            return True
        return False

    def _already(self, folders: fs.Folders, target: Target) -> Entry:
        """Answer for a file that was published before a crash: the content that was verified, or the final one."""
        final = self.look(folders, target.path)
        known = self._verified.get(target.name)
        tag = None if known is None else tag_of(known)
        if final is not None and final.st_size == target.size and tag in (None, tag_of(final)):
            return entry_of(target.path, final)
        if tag is not None:
            kept = folders.made(versions_of(target.path)).stat(tag)
            if kept is not None:
                return entry_of(target.path, kept)
        raise NotFound("nothing is staged under this ref")

    def _place_over(self, folders: fs.Folders, targets: Sequence[Target]) -> list[Entry | DrayError]:
        """Keep what has the names now, durably, then rename over it; other processes wait."""
        own = folders.made(RESERVED)
        self.disk.ensure(own.at("lock"))
        with own.locked("lock"):
            kept = each(targets, lambda target: self._keep(folders, target))
            folders.sync()
            return [
                failed if failed is not None else attempt(lambda target: self._replace(folders, target), target)
                for target, failed in zip(targets, kept, strict=True)
            ]

    def _keep(self, folders: fs.Folders, target: Target) -> None:
        final = self.look(folders, target.path)
        if final is not None:
            versions = folders.made(versions_of(target.path))
            folders.touched.add(versions.path)
            self._second_name(folders.at(target.path.parent).at(target.path.name), versions.at(tag_of(final)))

    def _second_name(self, final: fs.At, version: fs.At) -> None:
        try:
            self.disk.link(final, version)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in fs.NO_LINKS:
                raise
            self.disk.rename(final, version)

    def _replace(self, folders: fs.Folders, target: Target) -> Entry:
        with self.staging.guard.take(target.name):
            folder = folders.at(target.path.parent)
            seen = self.staging.stat(target)
            if seen is None:
                raise NotFound("nothing is staged under this ref")
            self._check_verified(target, seen)
            folders.touched.add(folder.path)
            self.disk.replace(self.staging.at(target), folder.at(target.path.name))
            return entry_of(target.path, seen)

    def remove(self, path: RemotePath, tag: str) -> None:
        """Remove a published file, with ``tag`` this content of it only."""
        with fs.Folders(self.root) as folders:
            for folder_path, name in ((path.parent, path.name), (versions_of(path), tag)):
                with contextlib.suppress(FileNotFoundError):
                    folder = folders.at(folder_path)
                    seen = folder.stat(name) if name else None
                    if seen is not None and tag in ("", tag_of(seen)):
                        self.disk.unlink(folder.at(name))
                        folders.touched.add(folder_path)
            folders.sync()

    def scan(self, path: str) -> tuple[list[Entry], list[str]]:
        """Return the files and folders directly in a folder; links, devices and odd names are left out."""
        files: list[Entry] = []
        folders: list[str] = []
        try:
            folder = self.root.folder(path)
        except FileNotFoundError:
            return files, folders
        with folder:
            for name, seen in folder.scan():
                full = f"{path}/{name}" if path else name
                if refusal(full) is None:
                    if stat.S_ISDIR(seen.st_mode):
                        folders.append(full)
                    elif stat.S_ISREG(seen.st_mode):
                        files.append(entry_of(RemotePath(full), seen))
        return files, folders


def versions_of(path: str) -> str:
    """Return the folder that keeps the older contents of a path."""
    digest = hashlib.sha256(path.encode()).hexdigest()
    return f"{VERSIONS}/{digest[:2]}/{digest[:32]}"
