"""A small HTTP/1.1 server in threads whose answers a test writes, and that can be rude: cut, stall, lie."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.servers.process import LOOPBACK


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Answer:
    """What is sent back: ``send`` bytes of the body (all unless told), then, if ``cut``, the connection is closed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    send: int | None = None
    cut: bool = False


Handler = Callable[[Received], Answer]


class ScriptedServer:
    """Remembers every request and answers each with what ``handler`` returns.

    ``early`` answers before the body is read; ``hang`` holds answers back until it is set; ``arrived`` counts requests.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        early: bool = False,
        cut_after: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.handler = handler
        self.tls = tls
        self.early = early
        self.cut_after = cut_after
        self.requests: list[Received] = []
        self.arrived = threading.Semaphore(0)
        self.hang = threading.Event()
        self.hang.set()
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.url = f"http{'s' if tls else ''}://{LOOPBACK}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.hang.set()
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection, len(self._connections)), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        if self.tls:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with suppress(OSError, ValueError), connection.makefile("rb") as stream:
            while line := stream.readline():
                method, path, _ = line.decode("latin-1").split(" ")
                headers = dict(_headers(stream.readline))
                length = int(headers.get("content-length", 0))
                if self.cut_after is not None and length > self.cut_after:
                    stream.read(self.cut_after)
                    break
                body = b"" if self.early else stream.read(length)
                request = Received(method, path, headers, body, number)
                self.requests.append(request)
                self.arrived.release()
                self.hang.wait()
                if not self._answer(connection, self.handler(request)):
                    break
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _answer(self, connection: socket.socket, answer: Answer) -> bool:
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        head = f"HTTP/1.1 {answer.status} x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        connection.sendall(head.encode("latin-1") + answer.body[: answer.send])
        return not (answer.cut or self.early)


def _headers(readline: Callable[[], bytes]) -> Iterator[tuple[str, str]]:
    while line := readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()


@contextmanager
def scripted(
    handler: Handler, *, early: bool = False, cut_after: int | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedServer]:
    server = ScriptedServer(handler, early=early, cut_after=cut_after, tls=tls)
    try:
        yield server
    finally:
        server.close()
