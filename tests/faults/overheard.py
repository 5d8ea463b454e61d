"""Listens to the same directories as the product does, to prove that the kernel's queue ran over."""

import ctypes
import os
import struct
from pathlib import Path

from tests.servers.process import ServerTrouble

WANTED = 0x8 | 0x40 | 0x80 | 0x100
"""What `dray watch` asks for: closed after writing, moved from, moved to, created."""
OVERFLOW = 0x4000
LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


class Overheard:
    """A listener that reads nothing until it is asked."""

    def __init__(self, folders: list[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for folder in folders:
            if libc.inotify_add_watch(self.fd, os.fsencode(folder), WANTED) < 0:
                raise ServerTrouble(f"inotify: {os.strerror(ctypes.get_errno())}")

    def count(self) -> tuple[int, bool]:
        """Return how many events were kept, and whether the queue ran over."""
        events, over = 0, False
        while data := self._read():
            at = 0
            while at < len(data):
                _, mask, _, length = struct.unpack_from("iIII", data, at)
                events, over = events + 1, over or bool(mask & OVERFLOW)
                at += 16 + length
        return events, over

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self.fd)
