"""Reads what the disk holds of a large file, past the page cache, without losing the speed that reading ahead gives."""

import errno
import itertools
import mmap
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from dray import fs, kernel

DISK_PIECE = 2 << 20
DISK_BLOCK = 512
"""The smallest block of a disk; what is read past the cache ends within one at the end of the file only."""
DEPTH = 3
"""Pieces that are asked for at once where nothing is read ahead."""


def make_buffer() -> memoryview:
    """Return a buffer for ``FromDisk``."""
    return memoryview(mmap.mmap(-1, (DEPTH + 1) * DISK_PIECE))


class FromDisk:
    """Reads a durable file from the disk, not from what is cached of it, where the platform can.

    Without the cache a page is not made for each block either, which is most of what reading a large file again costs.
    Nothing is read ahead then, so a few pieces are asked for at once: a disk that also writes gives most to who asks.
    """

    def __init__(self, fd: int, buffer: memoryview) -> None:
        self._fd = fd
        self._slots = [buffer[at : at + DISK_PIECE] for at in range(0, len(buffer), DISK_PIECE)]
        self._direct = kernel.bypass_cache(fd)
        if not self._direct:
            self._forget()

    def views(self, begin: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes from ``begin`` to ``end``, each good until the next is asked for; fewer where there are."""
        starts = iter(range(begin, end, DISK_PIECE))
        slots = itertools.cycle(self._slots)
        with ThreadPoolExecutor(DEPTH, thread_name_prefix="disk-read") as pool:

            def asked(start: int) -> tuple[memoryview, int, Future[int]]:
                slot = next(slots)
                return slot, min(len(slot), end - start), pool.submit(self._fill, slot, start)

            coming = deque(map(asked, itertools.islice(starts, DEPTH)))
            while coming:
                slot, wanted, filling = coming.popleft()
                count = min(wanted, filling.result())
                yield slot[:count]
                if count < wanted:
                    break
                coming.extend(map(asked, itertools.islice(starts, 1)))

    def _fill(self, slot: memoryview, offset: int) -> int:
        """Fill a slot from ``offset`` on and return how much there was; less only at the end of the file."""
        try:
            return self._fill_directly(slot, offset) if self._direct else fs.read_into(self._fd, slot, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        # Begun within a block, or a file system that takes the flag but not the read.
        self._direct = False
        kernel.bypass_cache(self._fd, bypass=False)
        self._forget()
        return fs.read_into(self._fd, slot, offset)

    def _fill_directly(self, slot: memoryview, offset: int) -> int:
        done = 0
        while done < len(slot):
            count = kernel.read_some(self._fd, slot[done:], offset + done)
            done += count
            if count == 0 or done % DISK_BLOCK:
                break  # the end of the file
        return done

    def _forget(self) -> None:
        advise = getattr(os, "posix_fadvise", None)
        if advise is not None:
            advise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
