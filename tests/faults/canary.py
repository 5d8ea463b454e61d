"""Files that nobody may touch, and a listener that tells when somebody did; what else lies where it should not."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from tests.servers.process import ServerTrouble

ALL_EVENTS = 0xFFF
SECRET = b"the canary's secret"


class Canary:
    """Folders ``canary`` with a secret at several heights, where names that climb would lead."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder / "canary" for folder in folders]
        for folder in self.folders:
            (folder / "sub").mkdir(parents=True)
            for name in ("secret", "a", "x", "sub/a"):
                (folder / name).write_bytes(SECRET)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names: dict[int, str] = {}
        for folder in self.folders:
            for path in (folder, *sorted(folder.rglob("*"))):
                self._listen(path)

    def _listen(self, path: Path) -> None:
        number = self._libc.inotify_add_watch(self._fd, os.fsencode(path), ALL_EVENTS)
        if number < 0:
            raise ServerTrouble(f"inotify: {os.strerror(ctypes.get_errno())}")
        self._names[number] = str(path)

    def touched(self) -> list[str]:
        """Return what was opened, read, written or made since the last call."""
        found: dict[str, int] = {}
        try:
            data = os.read(self._fd, 1 << 20)
        except BlockingIOError:
            return []
        at = 0
        while at < len(data):
            number, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0")
            path = os.path.join(self._names.get(number, "?"), os.fsdecode(name)).rstrip("/")
            found[path] = found.get(path, 0) | mask
            at += 16 + length
        return [f"{path} was touched (events {mask:#x})" for path, mask in found.items()]

    def close(self) -> None:
        os.close(self._fd)


def strangers(base: Path, known: Iterable[str]) -> list[str]:
    """Return what lies below ``base`` and is neither one of the known paths nor a folder above one of them."""
    ours = set(known)
    above = {"/".join(path.split("/")[:n]) for path in ours for n in range(1, path.count("/") + 1)}
    found: list[str] = []
    for where, folders, files in os.walk(base):
        paths = {os.path.relpath(os.path.join(where, name), base): name for name in (*folders, *files)}
        found += [path for path in paths if path not in ours | above]
        folders[:] = [name for path, name in paths.items() if path in above]
    return found
