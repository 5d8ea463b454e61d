"""File bytes over HTTP, against a real uvicorn on a free loopback port; clients are plain sockets."""

import asyncio
import contextlib
import hashlib
import inspect
import os
import random
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httptools
import pytest
import uvicorn
import uvloop
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dray.api import lane, lane_protocol
from dray.api.lane import Head, Stalled, receive_body, send_file
from dray.api.lane_protocol import LaneProtocol, Threads
from dray.errors import Disconnected, SourceChanged
from dray.fs import FileRange

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
BIG = random.Random(1).randbytes(3 * lane.GATHER + 12345)


class Site:
    """An application that keeps what it was sent and serves one file, and remembers how it went."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "served"
        self.path.write_bytes(BIG)
        self.bodies: list[bytes] = []
        self.views: list[int] = []
        self.threads: set[str] = set()
        self.failures: list[BaseException] = []
        self.arrived = asyncio.Event()
        self.stall = 30.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await getattr(self, scope["path"].strip("/"))(scope, receive, send)
        except Disconnected as failure:
            self.failures.append(failure)
            if isinstance(failure, Stalled) and scope["method"] == "PUT":
                await answer(send, 408)
        except (OSError, SourceChanged) as failure:
            self.failures.append(failure)
            if scope["method"] == "PUT":
                await answer(send, 507)

    async def keep(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()
        loop = asyncio.get_running_loop()

        def consume(view: memoryview) -> None:
            self.threads.add(threading.current_thread().name.partition("_")[0])
            self.views.append(len(view))
            body.extend(view)
            loop.call_soon_threadsafe(self.arrived.set)

        try:
            count = await receive_body(scope, receive, consume, stall=self.stall)
        finally:
            self.bodies.append(bytes(body))
        assert count == len(body)
        await answer(send, 200, hashlib.sha256(body).hexdigest().encode())

    async def messages(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await answer(send, 200, hashlib.sha256(body).hexdigest().encode())

    async def refuse(self, scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 403, b"not yours")

    async def full(self, scope: Any, receive: Any, send: Any) -> None:
        def consume(view: memoryview) -> None:
            raise OSError(28, "No space left on device")

        await receive_body(scope, receive, consume, stall=self.stall)

    async def file(self, scope: Any, receive: Any, send: Any) -> None:
        await self.part(scope, receive, send, 0, len(BIG))

    async def middle(self, scope: Any, receive: Any, send: Any) -> None:
        await self.part(scope, receive, send, 1000, lane.GATHER + 7)

    async def beyond(self, scope: Any, receive: Any, send: Any) -> None:
        await self.part(scope, receive, send, 5000, len(BIG))

    async def part(self, scope: Any, receive: Any, send: Any, offset: int, length: int) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            part = FileRange(descriptor, offset, length)
            await send_file(scope, receive, send, Head(200, [(b"x-part", b"yes")]), part, stall=self.stall)
        finally:
            os.close(descriptor)


async def answer(send: Any, status: int, body: bytes = b"") -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *data: bytes) -> None:
        for each in data:
            self.writer.write(each)
        await self.writer.drain()

    async def response(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        length = int(headers.get("content-length", 0)) if body else 0
        return int(head[0].split()[1]), headers, await self.reader.readexactly(length)

    async def closed(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(1), 20) == b""
        return True


def head(path: str, *headers: str, method: str = "PUT") -> bytes:
    return "\r\n".join([f"{method} /{path} HTTP/1.1", "host: test", *headers, "", ""]).encode()


def put(body: bytes, path: str = "keep") -> bytes:
    return head(path, f"content-length: {len(body)}") + body


def get(path: str = "file", method: str = "GET") -> bytes:
    return head(path, method=method)


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


class Running:
    """A started server: its site, and clients that are closed with it."""

    def __init__(self, site: Site, server: uvicorn.Server, address: Any, context: ssl.SSLContext | None) -> None:
        self.site, self.server, self._address, self._context = site, server, address, context
        self.stack = contextlib.AsyncExitStack()

    async def client(self, **options: Any) -> Client:
        reader, writer = await asyncio.open_connection(*self._address, ssl=self._context, **options)
        self.stack.callback(lambda: writer.transport.abort())
        return Client(reader, writer)


@contextlib.asynccontextmanager
async def serving(folder: Path, *, context: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Running]:
    site = Site(folder)
    settings: dict[str, Any] = {"http": LaneProtocol, "lifespan": "off", "log_config": None, "ws": "none"} | options
    server = uvicorn.Server(uvicorn.Config(site, **settings))
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers only the flag
        await asyncio.sleep(0.005)
    running = Running(site, server, listener.getsockname(), context)
    try:
        async with running.stack:
            yield running
    finally:
        server.should_exit = True
        await task


def run(story: Callable[[], Awaitable[None]], loop: Any = asyncio.new_event_loop) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(story(), 60))  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@LOOPS
def test_a_large_body_arrives_in_order_in_a_thread_of_the_lane_and_the_connection_lives_on(
    tmp_path: Path, loop: Any
) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            for body in (BIG, b"small", BIG[:-1]):
                await client.send(put(body))
                status, headers, received = await client.response()
                assert (status, received) == (200, digest(body))
                assert "connection" not in headers
            assert server.site.threads >= {"dray-lane"}
            assert max(server.site.views) <= lane.GATHER
            assert len(server.site.views) <= 2 * (len(BIG) // lane.GATHER + 2) + 1, "bytes are gathered"

    run(story, loop)


@LOOPS
def test_requests_sent_right_behind_a_body_are_answered_in_order(tmp_path: Path, loop: Any) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            asked = put(BIG) + get("middle") + put(b"") + put(BIG) + put(b"tail")
            sending = asyncio.create_task(client.send(asked))
            answers = [(await client.response())[2] for _ in range(5)]
            await sending
            expected = [digest(BIG), BIG[1000 : 1000 + lane.GATHER + 7], digest(b""), digest(BIG), digest(b"tail")]
            assert answers == expected

    run(story, loop)


@pytest.mark.parametrize("size", [0, 1, 4000, lane_protocol.SMALL, lane_protocol.SMALL + 1])
def test_a_body_in_the_first_packet_arrives(tmp_path: Path, size: int) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            for _ in range(2):
                await client.send(put(BIG[:size]))
                assert (await client.response())[2] == digest(BIG[:size])

    run(story)


def test_the_client_is_told_to_continue_once_the_body_is_wanted(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            await client.send(head("keep", f"content-length: {len(BIG)}", "expect: 100-continue"))
            assert (await client.response())[0] == 100
            await client.send(BIG)
            assert (await client.response())[2] == digest(BIG)

    run(story)


def test_a_body_that_is_not_wanted_is_not_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            await client.send(head("refuse", f"content-length: {len(BIG)}", "expect: 100-continue"))
            status, headers, _ = await client.response()
            assert (status, headers["connection"]) == (403, "close")
            assert await client.closed()

    run(story)


@LOOPS
@pytest.mark.parametrize(("path", "status"), [("refuse", 403), ("full", 507)])
def test_a_client_that_sends_a_whole_unwanted_body_still_reads_the_answer(
    tmp_path: Path, path: str, status: int, loop: Any
) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            await client.send(put(BIG + BIG, path), put(b"not a request any more"))
            answered, headers, _ = await client.response()
            assert (answered, headers["connection"]) == (status, "close")
            assert await client.closed()
            assert server.site.bodies == []

    run(story, loop)


def test_an_application_that_reads_messages_gets_a_large_body_and_keeps_the_connection(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            for _ in range(2):
                await client.send(put(BIG, "messages"))
                status, headers, received = await client.response()
                assert (status, received) == (200, digest(BIG))
                assert "connection" not in headers

    run(story)


def test_a_chunked_body_arrives_by_messages(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            chunk = b"%x\r\n%b\r\n" % (len(BIG), BIG)
            await client.send(head("keep", "transfer-encoding: chunked"), chunk, b"0\r\n\r\n")
            assert (await client.response())[2] == digest(BIG)
            assert server.site.threads == {"asyncio"}
            assert min(server.site.views[:-1]) >= lane.GATHER, "bytes are gathered"

    run(story)


def test_a_body_beyond_the_last_free_thread_arrives_by_messages(tmp_path: Path) -> None:
    class Narrow(LaneProtocol):
        threads = Threads(1)

    async def story() -> None:
        async with serving(tmp_path, http=Narrow) as server:
            slow, quick = await server.client(), await server.client()
            await slow.send(head("keep", f"content-length: {len(BIG)}"), BIG[: lane.GATHER * 2])
            await server.site.arrived.wait()
            await quick.send(put(BIG))
            assert (await quick.response())[2] == digest(BIG)
            await slow.send(BIG[lane.GATHER * 2 :])
            assert (await slow.response())[2] == digest(BIG)
            assert server.site.threads == {"dray-lane", "asyncio"}
            assert Narrow.threads.claim(), "the thread is free again"

    run(story)


@LOOPS
def test_a_client_that_leaves_is_reported_with_every_byte_that_came(tmp_path: Path, loop: Any) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            await client.send(head("keep", f"content-length: {len(BIG)}"), BIG[:-1])
            client.writer.close()
            await until(lambda: server.site.failures)
            assert type(server.site.failures[0]) is Disconnected
            assert server.site.bodies == [BIG[:-1]]
            await until(lambda: not server.server.server_state.connections)

    run(story, loop)


@pytest.mark.parametrize("http", [LaneProtocol, HttpToolsProtocol], ids=["lane", "plain"])
def test_a_client_that_stalls_is_told_so(tmp_path: Path, http: Any) -> None:
    async def story() -> None:
        async with serving(tmp_path, http=http) as server:
            server.site.stall = 0.2
            client = await server.client()
            await client.send(head("keep", f"content-length: {len(BIG)}"), BIG[:-1])
            assert (await client.response())[0] == 408
            assert server.site.bodies == [BIG[:-1]]

    run(story)


def test_a_server_that_shuts_down_finishes_the_body_and_closes(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            await client.send(head("keep", f"content-length: {len(BIG)}"), BIG[: lane.GATHER * 2])
            await server.site.arrived.wait()
            server.server.should_exit = True
            await asyncio.sleep(0.3)
            await client.send(BIG[lane.GATHER * 2 :])
            status, headers, received = await client.response()
            assert (status, headers["connection"], received) == (200, "close", digest(BIG))
            assert await client.closed()

    run(story)


def test_a_cancelled_request_leaves_no_thread_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, timeout_graceful_shutdown=1) as server:
            client = await server.client()
            await client.send(head("keep", f"content-length: {len(BIG)}"), BIG[: lane.GATHER * 2])
            await server.site.arrived.wait()
            server.server.should_exit = True
            await until(lambda: server.site.bodies)
            assert BIG.startswith(server.site.bodies[0])
            assert await client.closed()

    run(story)


@LOOPS
def test_a_range_of_a_file_is_sent_and_the_connection_lives_on(tmp_path: Path, loop: Any) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            client = await server.client()
            for path, expected in (("file", BIG), ("middle", BIG[1000 : 1000 + lane.GATHER + 7]), ("file", BIG)):
                await client.send(get(path))
                status, headers, received = await client.response()
                assert (status, headers["x-part"], received) == (200, "yes", expected)
            await client.send(get(method="HEAD"))
            _, headers, _ = await client.response(body=False)
            assert int(headers["content-length"]) == len(BIG)
            await client.send(put(b"after"))
            assert (await client.response())[2] == digest(b"after")

    run(story, loop)


@pytest.mark.parametrize("http", [LaneProtocol, HttpToolsProtocol], ids=["lane", "plain"])
def test_a_reader_that_leaves_or_stalls_ends_the_download(tmp_path: Path, http: Any) -> None:
    async def story() -> None:
        async with serving(tmp_path, http=http) as server:
            server.site.path.write_bytes(BIG * 8)
            server.site.file = lambda *call: server.site.part(*call, 0, len(BIG) * 8)  # type: ignore[method-assign]
            server.site.stall = 0.5
            stalling, leaving = await server.client(limit=1), await server.client(limit=1)
            await stalling.send(get())
            await until(lambda: server.site.failures)
            await leaving.send(get())
            await leaving.reader.read(100)
            leaving.writer.transport.abort()
            await until(lambda: len(server.site.failures) == 2)
            assert [type(failure) for failure in server.site.failures] == [Stalled, Disconnected]

    run(story)


@pytest.mark.parametrize("http", [LaneProtocol, HttpToolsProtocol], ids=["lane", "plain"])
def test_a_file_that_became_shorter_never_looks_complete(tmp_path: Path, http: Any) -> None:
    async def story() -> None:
        async with serving(tmp_path, http=http) as server:
            client = await server.client()
            await client.send(get("beyond"))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.response()
            assert [type(failure) for failure in server.site.failures] == [SourceChanged]

    run(story)


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_the_same_application_works_without_the_lane(tmp_path: Path, http: str) -> None:
    async def story() -> None:
        async with serving(tmp_path, http=http) as server:
            await whole_round(await server.client(), server.site)

    run(story)


@LOOPS
def test_the_same_application_works_over_tls(tmp_path: Path, certificate: tuple[Path, Path], loop: Any) -> None:
    async def story() -> None:
        context = ssl.create_default_context(cafile=certificate[0])
        files = {"ssl_certfile": certificate[0], "ssl_keyfile": certificate[1]}
        async with serving(tmp_path, context=context, **files) as server:
            await whole_round(await server.client(server_hostname="localhost"), server.site)

    run(story, loop)


async def whole_round(client: Client, site: Site) -> None:
    await client.send(put(BIG))
    assert (await client.response())[2] == digest(BIG)
    await client.send(get())
    assert (await client.response())[2] == BIG
    assert "dray-lane" not in site.threads


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made = (folder / "cert.pem", folder / "key.pem")
    ask = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    extra = ["-addext", "subjectAltName=DNS:localhost", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run([*ask.split(), *extra], check=True, capture_output=True)
    return made


def test_uvicorn_still_has_everything_the_lane_uses(tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {}

    class Looking(LaneProtocol):
        def on_message_complete(self) -> None:
            seen["protocol"], seen["cycle"], seen["flow"] = ({*dir(each)} for each in (self, self.cycle, self.flow))
            super().on_message_complete()

    async def story() -> None:
        async with serving(tmp_path, http=Looking) as server:
            client = await server.client()
            await client.send(put(b"body"))
            assert (await client.response())[0] == 200

    run(story)
    hooks = {"connection_made", "connection_lost", "data_received", "on_headers_complete", "on_body"}
    hooks |= {"on_message_complete", "shutdown"}
    assert hooks <= vars(HttpToolsProtocol).keys(), "LaneProtocol overrides these"
    assert {"cycle", "flow", "loop", "parser", "scheme", "transport"} <= seen["protocol"]
    cycle = {"body", "disconnected", "expected_content_length", "keep_alive", "message_event", "more_body"}
    cycle |= {"response_started", "scope", "transport", "waiting_for_100_continue"}
    assert cycle <= seen["cycle"]
    assert {"_transport", "pause_reading", "resume_reading", "read_paused"} <= seen["flow"]
    assert issubclass(lane_protocol._HeldFlow, FlowControl)
    assert hasattr(httptools.HttpRequestParser, "set_dangerous_leniencies")


def test_uvicorn_uses_nothing_of_a_transport_that_the_lane_hides_from_it() -> None:
    used = set(re.findall(r"self\.transport\.(\w+)", inspect.getsource(RequestResponseCycle)))
    assert used == {"write", "is_closing", "close"}
