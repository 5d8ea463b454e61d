"""Runs an ASGI application on uvicorn: binding with a clear error, limits on slow or endless requests, draining."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp

from dray.api.lane_protocol import LaneProtocol
from dray.errors import DrayError, Forbidden, UsageError

BACKLOG = 2048
DRAIN = 30.0
"""Seconds that running requests get to end once the server drains."""

HEAD_BYTES = 64 << 10
HEAD_SECONDS = 20.0
KEEP_ALIVE = 75
MOST_CONNECTIONS = 4000
MOST_OF_ONE = 1000
"""Connections of one address; many clients can stand behind one."""


class Listener(uvicorn.Server):
    """uvicorn without its signal handlers: what a signal means is decided once for the whole process."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def drain(self) -> None:
        """Accept nothing more, let running requests end."""
        self.should_exit = True

    def stop_now(self) -> None:
        """End without waiting for anybody."""
        self.should_exit = self.force_exit = True


class GuardedProtocol(LaneProtocol):
    """Gives up on clients that send the head of a request slowly, or without end, or open too many connections."""

    _of_one: ClassVar[Counter[str]] = Counter()
    _host = ""
    _timer: asyncio.TimerHandle | None = None
    _between = True
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._host = self.client[0] if self.client else ""
        self._of_one[self._host] += 1
        if len(self.connections) > MOST_CONNECTIONS or self._of_one[self._host] > MOST_OF_ONE:
            transport.abort()
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._of_one[self._host] -= 1
        if not self._of_one[self._host]:
            del self._of_one[self._host]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._between and self._timer is None:
            self._expect_head()
        self._head += len(data)
        super().data_received(data)
        if self._timer is not None and self._head > HEAD_BYTES:
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._forget_head()
        self._between = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def renew_parser(self) -> None:
        self._between = True
        super().renew_parser()

    def _expect_head(self) -> None:
        self._head = 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _forget_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """Bind an address, or say plainly why not; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OverflowError:
        raise UsageError("there is no such port", item=address(host, port)) from None
    except OSError as error:
        raise _cannot_listen(error, host, port) from None


def _cannot_listen(error: OSError, host: str, port: int) -> DrayError:
    where = address(host, port)
    if error.errno == errno.EADDRINUSE:
        hint = "another server runs there; stop it, or choose another port with --listen"
        return UsageError("the address is in use", item=where, hint=hint)
    if error.errno == errno.EACCES:
        return Forbidden("the operating system refuses this port", item=where, hint="take a port above 1023")
    return UsageError(f"cannot listen there: {error.strerror or error}", item=where, hint="choose it with --listen")


def address(host: str, port: int) -> str:
    """Return ``host:port`` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url_of(listening: socket.socket) -> str:
    """Return the URL of a bound socket; a server on all addresses is named by this machine's loopback."""
    host, port = listening.getsockname()[:2]
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return f"http://{address(loopback.get(host, host), port)}"


def make_listener(app: ASGIApp, ready: Callable[[], None]) -> Listener:
    """Return a server for ``app``; ``serve(sockets=[...])`` calls ``ready`` once it answers."""
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(DRAIN),
        backlog=BACKLOG,
    )
    return Listener(config, ready)
