"""A service before a real one that lies on demand: it refuses, cuts answers off, or says something else."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Literal, NamedTuple

from tests.servers.process import LOOPBACK

KEPT_BACK = ("content-length", "transfer-encoding", "connection", "date", "server")


class Lie(NamedTuple):
    """What happens to the next ``times`` requests that ``when`` (method, path with query) is true of.

    ``refuse``: the service never hears of them. ``lose``: it does, but its answer is lost. ``header``: a header of the
    answer has another value. ``cut``: its body ends in the middle.
    """

    what: Literal["refuse", "lose", "header", "cut"]
    when: Callable[[str, str], bool]
    times: int = 1
    status: int = 503
    body: bytes = b""
    header: tuple[str, str] = ("", "")


class Liar:
    """The lies that are ordered, and those that were told."""

    def __init__(self) -> None:
        self.url = ""
        self.told: list[str] = []
        self.heard: list[tuple[str, str]] = []
        self._lies: list[Lie] = []
        self._lock = Lock()

    def order(self, lie: Lie) -> None:
        """Lie from now on."""
        self._lies.append(lie)

    def next(self, method: str, path: str) -> Lie | None:
        """Return the lie that is due."""
        with self._lock:
            self.heard.append((method, path))
            for index, lie in enumerate(self._lies):
                if lie.times and lie.when(method, path):
                    self._lies[index] = lie._replace(times=lie.times - 1)
                    self.told.append(lie.what)
                    return lie
        return None


@contextmanager
def lying(port: int) -> Iterator[Liar]:
    """Lend a liar before the service at ``port``."""
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            lie = liar.next(self.command, self.path)
            if lie is not None and lie.what == "refuse":
                return self.answer(lie.status, [("retry-after", "0")], lie.body)
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data, headers = answer.read(), answer.getheaders()
            connection.close()
            if lie is not None and lie.what == "lose":
                self.close_connection = True
                return None
            if lie is not None and lie.what == "header":
                headers = [pair for pair in headers if pair[0].lower() != lie.header[0]] + [lie.header]
            length = {name.lower(): value for name, value in headers}.get("content-length")
            whole = len(data) if self.command != "HEAD" else int(length or 0)
            if lie is not None and lie.what == "cut":
                data, self.close_connection = data[: len(data) // 2], True
            return self.answer(answer.status, headers, data, whole)

        def answer(self, status: int, headers: list[tuple[str, str]], data: bytes, whole: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in KEPT_BACK:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(data) if whole is None else whole))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = hand_on

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        liar.url = f"http://{LOOPBACK}:{server.server_address[1]}"
        yield liar
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
