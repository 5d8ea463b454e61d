"""Moves file bytes between a request or response and a thread, on any ASGI server, past the event loop where it can.

A server of ours (``lane_protocol``) puts a ``Lane`` in ``scope["extensions"]["dray.lane"]``: a thread then reads the
socket into one reused buffer, or hands the file to ``sendfile``. Without one (TLS, other servers, Windows, chunked
bodies, no thread free) the same calls take ordinary ASGI messages, gathered to 1 MiB before a thread hop.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from dray.errors import Disconnected, SourceChanged
from dray.fs import FileRange, read_into

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
Consume = Callable[[memoryview], object]
T = TypeVar("T")

EXTENSION = "dray.lane"
STALL = 60.0  # seconds without one byte
GATHER = 1 << 20  # bytes a thread hop should be worth


class Head(NamedTuple):
    """Status and headers of a response."""

    status: int
    headers: Headers = ()


class Stalled(Disconnected):
    """The peer is still there but moved no byte for the agreed time."""

    code, status = "stalled", 408


class Lane(Protocol):
    """What our server offers a request; after a True ``claim`` call ``receive`` or ``send``, which gives it back."""

    @property
    def unread(self) -> bool: ...
    def claim(self) -> bool: ...
    async def receive(self, consume: Consume, stall: float) -> int: ...
    async def send(self, file: FileRange, stall: float) -> None: ...


async def receive_body(scope: Scope, receive: Receive, consume: Consume, *, stall: float = STALL) -> int:
    """Feed every byte of the request's body in order to ``consume`` and return their number.

    ``consume`` runs in a worker thread, one call at a time, about 1 MiB a call; the view is valid during the call only.
    On ``Disconnected`` and ``Stalled`` it has been given every byte that arrived. When this returns or raises,
    cancelled or not, ``consume`` is no longer running. What ``consume`` raises comes out here, and the connection is
    closed after the response. An application may as well answer without calling this.
    """
    lane = _lane(scope)
    if lane is not None and lane.unread and lane.claim():
        return await lane.receive(consume, stall)
    return await _receive_messages(receive, consume, stall)


async def send_file(
    scope: Scope, receive: Receive, send: Send, head: Head, file: FileRange, *, stall: float = STALL
) -> None:
    """Send a whole response whose body is ``file``; ``content-length`` is added here, HEAD sends no body.

    The descriptor is this call's alone, since its position may move. Raises ``Disconnected``, ``Stalled``, or
    ``SourceChanged`` when the file is shorter than its range; the connection is closed then.
    """
    length = (b"content-length", b"%d" % file.length)
    await send({"type": "http.response.start", "status": head.status, "headers": [*head.headers, length]})
    if file.length and scope["method"] != "HEAD":
        await _send_body(scope, receive, send, file, stall)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_body(scope: Scope, receive: Receive, send: Send, file: FileRange, stall: float) -> None:
    lane = _lane(scope)
    if lane is not None and lane.claim():
        await lane.send(file, stall)
    else:
        await _send_messages(receive, send, file, stall)


def _lane(scope: Scope) -> Lane | None:
    return cast(Lane | None, scope.get("extensions", {}).get(EXTENSION))


# Any ASGI server


class _Gathered(NamedTuple):
    data: bytearray
    more: bool
    failure: Disconnected | None = None


async def _receive_messages(receive: Receive, consume: Consume, stall: float) -> int:
    total, more = 0, True
    while more:
        data, more, failure = await _gather(receive, stall)
        if data:
            await in_thread(partial(consume, memoryview(data)))
        if failure:
            raise failure
        total += len(data)
    return total


async def _gather(receive: Receive, stall: float) -> _Gathered:
    data, more = bytearray(), True
    try:
        while more and len(data) < GATHER:
            message = await _within(stall, receive())
            if message["type"] == "http.disconnect":
                raise gone()
            data += message.get("body", b"")
            more = message.get("more_body", False)
    except Disconnected as failure:
        return _Gathered(data, False, failure)
    return _Gathered(data, more)


async def _within(stall: float, step: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(step, stall)
    except TimeoutError:
        raise stalled(stall) from None


async def _send_messages(receive: Receive, send: Send, file: FileRange, stall: float) -> None:
    left = asyncio.ensure_future(_disconnect(receive))
    try:
        for done in range(0, file.length, GATHER):
            data = await in_thread(partial(_read, file, done))
            if left.done():
                raise gone()
            await _within(stall, send({"type": "http.response.body", "body": data, "more_body": True}))
    finally:
        left.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _read(file: FileRange, done: int) -> bytes:
    data = bytearray(min(GATHER, file.length - done))
    if read_into(file.file, memoryview(data), file.offset + done) < len(data):
        raise shorter()
    return bytes(data)


async def in_thread(work: Callable[[], T], pool: Executor | None = None, stop: Callable[[], None] | None = None) -> T:
    """Run ``work`` in a thread; a cancelled caller still waits until the thread has let go of buffer and file."""
    thread = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        while not thread.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([thread])
        raise


def gone() -> Disconnected:
    return Disconnected("the client went away", hint="send it again from the last receipt")


def stalled(stall: float) -> Stalled:
    return Stalled(f"no byte moved for {stall:g} s", hint="send it again from the last receipt")


def shorter() -> SourceChanged:
    return SourceChanged("the file became shorter while it was sent")
