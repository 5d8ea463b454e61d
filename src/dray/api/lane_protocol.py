"""uvicorn's HTTP/1.1 protocol, with a lane past ASGI in every request.

Use it as ``uvicorn.Config(app, http=LaneProtocol)``. While a lane is busy uvicorn reads nothing from that connection;
before and after, HTTP is uvicorn's own. A request that is answered with a large body unread closes its connection,
once the client had time to read the answer. What is used of uvicorn beyond its documentation is listed in
``tests/unit/test_lane.py``, which fails when it is gone.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dray.api.lane import EXTENSION, GATHER, Consume, gone, in_thread, shorter, stalled
from dray.errors import Disconnected
from dray.fs import FileRange

T = TypeVar("T")

SMALL = 256 << 10  # bytes; a body up to this size has mostly arrived before a thread could start
LINGER = 5.0  # seconds to let a client read the answer to a body that nobody wanted
LOOK = 0.005  # seconds between looks at a write buffer that has not drained yet


class Threads:
    """Threads for bodies; ``claim`` says at once whether one is free, so that nobody queues behind slow clients."""

    def __init__(self, most: int) -> None:
        self.pool = ThreadPoolExecutor(most, "dray-lane")
        self._free = threading.Semaphore(most)

    def claim(self) -> bool:
        return self._free.acquire(blocking=False)

    def release(self) -> None:
        self._free.release()


class SocketLane:
    """One request's ``Lane``: its own thread on the connection's socket."""

    __slots__ = ("_cycle", "_keep_alive", "_length", "_protocol", "parsed", "unread")

    def __init__(self, protocol: "LaneProtocol", cycle: RequestResponseCycle, length: int) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._length = length
        self._keep_alive = cycle.keep_alive
        self.parsed = 0
        self.unread = length > SMALL
        if self.unread:
            self._guard()

    def claim(self) -> bool:
        return self._protocol.threads.claim()

    def _guard(self) -> None:
        """Have the response say ``connection: close``, unless the body is taken before it starts."""
        self._cycle.keep_alive = False
        self._cycle.transport = cast(asyncio.Transport, _Lingering(self._protocol, self))

    def finish(self) -> None:
        """Note that the whole body has been received."""
        if self.unread and not self._cycle.response_started:
            self._cycle.keep_alive = self._keep_alive and not self._protocol.draining
        self.unread = False

    async def receive(self, consume: Consume, stall: float) -> int:
        """Receive the body in a thread; uvicorn reads nothing meanwhile."""
        self._protocol.flow.hold()
        try:
            first = self._take_parsed()
            await self._run(partial(_pump, first, self._length - self.parsed, consume), stall)
        except BaseException as failure:
            self._cycle.disconnected |= type(failure) is Disconnected
            self._protocol.deaf = True
            raise
        else:
            self._tell_uvicorn()
        finally:
            self._protocol.threads.release()
            self._protocol.flow.release()
        return self._length

    def _take_parsed(self) -> bytearray:
        cycle = self._cycle
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        first, cycle.body = cycle.body, bytearray()
        return first

    def _tell_uvicorn(self) -> None:
        self._protocol.renew_parser()
        self.finish()
        self._cycle.more_body = False
        self._cycle.message_event.set()

    async def send(self, file: FileRange, stall: float) -> None:
        """Send the file in a thread, once uvicorn's own write buffer is empty."""
        try:
            await self._drained(stall)
            await self._run(partial(_sendfile, file), stall)
            self._cycle.expected_content_length -= file.length
        except BaseException:
            self._cycle.disconnected = True
            self._protocol.transport.abort()
            raise
        finally:
            self._protocol.threads.release()

    async def _drained(self, stall: float) -> None:
        looks = stall / LOOK
        await asyncio.sleep(0)
        while self._protocol.transport.get_write_buffer_size() and not self._cycle.disconnected:
            await asyncio.sleep(LOOK)
            looks -= 1
            if looks < 0:
                raise stalled(stall)

    async def _run(self, work: Callable[[socket.socket], T], stall: float) -> T:
        protocol = self._protocol
        if self._cycle.disconnected or protocol.transport.is_closing():
            raise gone()
        with _twin(protocol.transport, stall) as twin:
            protocol.twins.add(twin)
            try:
                return await in_thread(partial(work, twin), protocol.threads.pool, partial(_shut, twin))
            finally:
                protocol.twins.discard(twin)


def _content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the announced size of the body, 0 where there is none, -1 for a chunked one."""
    length = 0
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            return -1
    return length


class _Lingering:
    """The transport as uvicorn's cycle sees it: a close that would reset the connection waits for the client."""

    def __init__(self, protocol: "LaneProtocol", lane: SocketLane) -> None:
        self._protocol = protocol
        self._lane = lane
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        if self._lane.unread:
            self._protocol.linger()
        else:
            self._protocol.transport.close()


class _HeldFlow(FlowControl):
    """uvicorn's flow control that leaves the socket alone while a thread reads it."""

    held = False

    def resume_reading(self) -> None:
        if not self.held and not self._transport.is_closing():
            super().resume_reading()

    def hold(self) -> None:
        if not self._transport.is_closing():
            self.pause_reading()
        self.held = True

    def release(self) -> None:
        self.held = False
        self.resume_reading()


class LaneProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a ``Lane`` in every request; give it to ``uvicorn.Config(http=...)``."""

    threads: ClassVar[Threads] = Threads(32)
    flow: _HeldFlow
    lane: SocketLane | None = None
    deaf = False  # what arrives is dropped: the parser no longer knows where a request starts
    draining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _HeldFlow(transport)
        self.has_lane = os.name == "posix" and self.scheme == "http"
        self.twins: set[socket.socket] = set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for twin in self.twins:
            _shut(twin)

    def data_received(self, data: bytes) -> None:
        if not self.deaf:
            super().data_received(data)

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        self.lane = None
        if self.has_lane and self.cycle is not before:
            self._open_lane(_content_length(self.headers))

    def _open_lane(self, length: int) -> None:
        if 0 < length <= SMALL:
            return
        self.lane = SocketLane(self, self.cycle, max(length, 0))
        cast(dict[str, Any], self.scope).setdefault("extensions", {})[EXTENSION] = self.lane
        if self.lane.unread:
            self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        if self.lane is not None:
            self.lane.parsed += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.lane is not None:
            self.lane.finish()

    def shutdown(self) -> None:
        self.draining = True
        super().shutdown()

    def renew_parser(self) -> None:
        """Forget a body that the parser still waits for, since a thread has read it."""
        if self.parser is not None:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def linger(self) -> None:
        """End the response, drop what still arrives, and close when the client has or after a while."""
        self.deaf = True
        self.transport.write_eof()
        self.flow.release()
        self.loop.call_later(LINGER, self.transport.close)


# In the worker thread


def _pump(first: bytearray, left: int, consume: Consume, twin: socket.socket) -> None:
    """Hand over ``first`` and then ``left`` bytes of the socket, gathered to the size of the buffer."""
    if first:
        consume(memoryview(first))
    buffer = memoryview(bytearray(min(left, GATHER)))
    while left:
        got, failure = _fill(twin, buffer[:left])
        if got:
            consume(buffer[:got])
        if failure:
            raise failure
        left -= got


def _fill(twin: socket.socket, room: memoryview) -> tuple[int, Disconnected | None]:
    got = 0
    try:
        while got < len(room):
            count = twin.recv_into(room[got:])
            if not count:
                return got, gone()
            got += count
    except TimeoutError:
        return got, stalled(twin.gettimeout() or 0)
    except OSError:
        return got, gone()
    return got, None


def _sendfile(file: FileRange, twin: socket.socket) -> None:
    try:
        with open(file.file, "rb", buffering=0, closefd=False) as raw:
            sent = twin.sendfile(raw, file.offset, file.length)
    except TimeoutError:
        raise stalled(twin.gettimeout() or 0) from None
    except ConnectionError:
        raise gone() from None
    if sent != file.length:
        raise shorter()


def _twin(transport: asyncio.Transport, stall: float) -> socket.socket:
    """Open the connection's socket a second time; its timeout is Python's poll, the shared O_NONBLOCK stays set."""
    original = transport.get_extra_info("socket")
    twin = socket.fromfd(original.fileno(), original.family, original.type)
    twin.settimeout(stall)
    return twin


def _shut(twin: socket.socket) -> None:
    with contextlib.suppress(OSError):
        twin.shutdown(socket.SHUT_RDWR)
