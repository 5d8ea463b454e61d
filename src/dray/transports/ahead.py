"""Reads larger files again while they still arrive, so that little is left to read when the last part is there."""

import hashlib
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from dray.errors import DrayError, NotFound
from dray.model.checksum import Checksum
from dray.transports.from_disk import FromDisk, make_buffer
from dray.transports.refs import Target
from dray.transports.staging import Staging

REMEMBERED = 64
"""Files that are followed at a time; of others all is read at the end."""


class Reading:
    """How far a file was read again, in order: its first ``done`` bytes, and how many parts lie wholly in them."""

    def __init__(self) -> None:
        self.done = 0
        self.parts = 0
        self.birth: tuple[int, bytes] | None = None
        self.ended = False
        self.lock = threading.Lock()
        self._digest = hashlib.sha256()

    def read(self, fd: int, buffer: memoryview, end: int) -> bool:
        """Read on from the disk up to ``end``; False when told to end before, or when there is no more."""
        for view in FromDisk(fd, buffer).views(self.done, end):
            self._digest.update(view)
            self.done += len(view)
            if self.ended:
                break
        return self.done >= end

    def finish(self, fd: int, size: int) -> tuple[int, Checksum]:
        """Read what is left of ``size`` bytes and return how many there are, with their digest."""
        self.ended = False
        self.read(fd, make_buffer(), size)
        return self.done, Checksum("sha256", self._digest.hexdigest())


class Ahead:
    """Follows staged files whose parts become durable, in a thread of its own. Calls block only as they say."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._readings: OrderedDict[str, Reading] = OrderedDict()
        self._due: set[str] = set()
        self._lock = threading.Lock()
        self._buffer = make_buffer()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="reread")

    def follow(self, target: Target) -> None:
        """Note that a part became durable; its reading is begun and not waited for."""
        with self._lock:
            if target.name not in self._due:
                self._due.add(target.name)
                self._pool.submit(self._go_on, target)

    def forget(self, target: Target) -> None:
        """Forget what was read of a file that is removed, or begun anew."""
        with self._lock:
            self._end(target.name)

    def taken(self, target: Target) -> Reading:
        """Stop following and return how far this very file was read, which is at most a few blocks later."""
        with self._lock:
            reading = self._end(target.name)
        if reading is not None:
            with reading.lock:
                if reading.birth == self._staging.side(target).birth:
                    return reading
        return Reading()

    def close(self) -> None:
        """Stop at the next block."""
        with self._lock:
            for name in list(self._readings):
                self._end(name)
        self._pool.shutdown(cancel_futures=True)

    def _end(self, name: str) -> Reading | None:
        reading = self._readings.pop(name, None)
        if reading is not None:
            reading.ended = True
        return reading

    def _go_on(self, target: Target) -> None:
        with self._lock:
            self._due.discard(target.name)
            reading = self._readings.setdefault(target.name, Reading())
            self._readings.move_to_end(target.name)
            if len(self._readings) > REMEMBERED:
                self._end(next(iter(self._readings)))
        with reading.lock:
            try:
                self._read(target, reading)
            except (OSError, DrayError):
                # All of it is read when it is verified, and what is wrong with it told then.
                self.forget(target)

    def _read(self, target: Target, reading: Reading) -> None:
        """Read the parts that are durable and come next."""
        fd = self._staging.folder(target).open_read(target.name)
        try:
            side = self._staging.side(target)
            reading.birth = reading.birth or side.birth
            if reading.birth != side.birth:
                raise NotFound("it was removed and begun anew")
            # A part that is held is never written again.
            while not reading.ended and (part := side.held.get(reading.parts + 1)) is not None:
                if not reading.read(fd, self._buffer, part.offset + part.length):
                    raise NotFound("it is being verified, or shorter than it was")
                reading.parts += 1
        finally:
            os.close(fd)
