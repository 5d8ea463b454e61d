"""Changes of names below a directory of this machine. Calls block."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from dray import fs
from dray.errors import Conflict, Refused
from dray.model.names import RemotePath, refusal
from dray.model.values import Change


class PosixNames:
    """Makes changes below one root, each durable when it returns."""

    def __init__(self, root: fs.Root) -> None:
        self._root = root
        self._ways: dict[str, Callable[[fs.Folders, Change], None]] = {
            "remove": self._remove,
            "rmdir": self._rmdir,
            "mkdir": self._mkdir,
            "rename": self._rename,
            "symlink": self._symlink,
        }

    def change(self, change: Change) -> None:
        """Make one change; raises OSError, Conflict, Refused."""
        with fs.Folders(self._root) as folders:
            self._ways[change.what](folders, change)
            folders.sync()

    def _remove(self, folders: fs.Folders, change: Change) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._root.disk.unlink(folders.at(change.path.parent).at(change.path.name))
            folders.touched.add(change.path.parent)

    def _rmdir(self, folders: fs.Folders, change: Change) -> None:
        try:
            self._root.disk.rmdir(folders.at(change.path.parent).at(change.path.name))
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise Conflict("the folder is not empty", item=change.path, hint="nothing was changed") from None
        folders.touched.add(change.path.parent)

    def _mkdir(self, folders: fs.Folders, change: Change) -> None:
        folders.made(change.path)

    def _rename(self, folders: fs.Folders, change: Change) -> None:
        if refusal(change.target):
            raise Refused("not a name to rename", item=change.target)
        old = RemotePath(change.target)
        source = folders.at(old.parent)
        if source.stat(old.name) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)
        place = folders.made(change.path.parent)
        self._refuse_folder(place, change.path)
        self._root.disk.replace(source.at(old.name), place.at(change.path.name))
        folders.touched.update((old.parent, change.path.parent))

    def _symlink(self, folders: fs.Folders, change: Change) -> None:
        place = folders.made(change.path.parent)
        self._refuse_folder(place, change.path)
        found = place.stat(change.path.name)
        if found is not None and stat.S_ISLNK(found.st_mode) and _target(place, change.path.name) == change.target:
            return
        part = place.at(f".dray-{os.getpid()}-link")
        with contextlib.suppress(FileNotFoundError):
            self._root.disk.unlink(part)
        self._root.disk.symlink(change.target, part)
        self._root.disk.replace(part, place.at(change.path.name))
        folders.touched.add(change.path.parent)

    def _refuse_folder(self, place: fs.Folder, path: RemotePath) -> None:
        found = place.stat(path.name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise Conflict("a folder has this name", item=path, hint="nothing was changed")


def _target(folder: fs.Folder, name: str) -> str:
    at = folder.at(name)
    return os.readlink(at.name, dir_fd=at.folder)
