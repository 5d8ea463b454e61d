"""The two pipes of a child: written to while what comes back is read, so that they never fill up against each other."""

import contextlib
import errno
import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Protocol

from dray import kernel
from dray.errors import Unreachable
from dray.fs import FileRange

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

GULP = 1 << 18
"""Bytes that are read at once, and that each pipe holds where the platform lets us say so."""


class Pipe(Protocol):
    """Both directions; one thread at a time uses it. A peer that ended is an empty read or a BrokenPipeError.

    ``stall`` is how many seconds the peer may say nothing while it is waited for.
    """

    stall: float

    def send(self, data: bytes) -> None:
        """Write everything."""

    def send_file(self, at: FileRange) -> int:
        """Write bytes of a local file and return how many; fewer only where it ends."""

    def receive(self) -> bytes:
        """Wait for what comes next; empty at the end. Raises Unreachable when nothing came for too long."""


def pipe_of(to: int, out: int, stall: float) -> Pipe:
    """Return the quickest pipe of the platform over two descriptors; ``stall`` in seconds."""
    return PolledPipe(to, out, stall) if hasattr(select, "poll") else ThreadedPipe(to, out, stall)


def _silent(stall: float) -> Unreachable:
    return Unreachable(f"no answer for {stall:.0f} s", hint="it is tried again over a new connection")


class PolledPipe:
    """One thread for both directions: while there is no room to write, what comes back is kept."""

    def __init__(self, to: int, out: int, stall: float) -> None:
        self._to, self._out, self.stall = to, out, stall
        for fd in (to, out):
            os.set_blocking(fd, False)
            _widen(fd)
        self._kept: list[bytes] = []
        self._answers, self._both = select.poll(), select.poll()
        self._answers.register(out, select.POLLIN)
        self._both.register(out, select.POLLIN)
        self._both.register(to, select.POLLOUT)
        self._sendfile: Callable[[int, int, int, int], int] | None = getattr(os, "sendfile", None)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._to, view) :]
            except BlockingIOError:
                self._make_room()

    def send_file(self, at: FileRange) -> int:
        done = 0
        while done < at.length:
            try:
                count = self._move(at, done)
            except BlockingIOError:
                self._make_room()
                continue
            if count == 0:
                break
            done += count
        return done

    def _move(self, at: FileRange, done: int) -> int:
        if self._sendfile is not None:
            try:
                return self._sendfile(self._to, at.file, at.offset + done, at.length - done)
            except OSError as error:
                # macOS has a sendfile for sockets only.
                if error.errno not in (errno.EINVAL, errno.ENOTSOCK, errno.ENOTSUP, errno.ENOSYS):
                    raise
                self._sendfile = None
        return _copy(self.send, at, done)

    def _make_room(self) -> None:
        ready = self._both.poll(self.stall * 1000)
        if not ready:
            raise _silent(self.stall)
        if any(fd == self._out for fd, _ in ready):
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._out, GULP)
                if not data:
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
                self._kept.append(data)

    def receive(self) -> bytes:
        if self._kept:
            data, self._kept = b"".join(self._kept), []
            return data
        while True:
            try:
                return os.read(self._out, GULP)
            except BlockingIOError:
                if not self._answers.poll(self.stall * 1000):
                    raise _silent(self.stall) from None


class ThreadedPipe:
    """A thread reads what comes back, for platforms where a pipe cannot be waited for otherwise."""

    def __init__(self, to: int, out: int, stall: float) -> None:
        self._to, self._out, self.stall = to, out, stall
        self._came: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="ssh", daemon=True).start()

    def _read(self) -> None:
        data = b"?"
        while data:
            try:
                data = os.read(self._out, GULP)
            except OSError:
                data = b""
            self._came.put(data)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._to, view) :]

    def send_file(self, at: FileRange) -> int:
        done = 0
        while done < at.length and (count := _copy(self.send, at, done)):
            done += count
        return done

    def receive(self) -> bytes:
        try:
            return self._came.get(timeout=self.stall)
        except queue.Empty:
            raise _silent(self.stall) from None


def _copy(send: Callable[[bytes], None], at: FileRange, done: int) -> int:
    data = kernel.read_at(at.file, min(GULP, at.length - done), at.offset + done)
    send(data)
    return len(data)


def _widen(fd: int) -> None:
    """Let a pipe hold more, where the system has this and lets us."""
    number = getattr(fcntl, "F_SETPIPE_SZ", None)
    if number is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, number, GULP)
