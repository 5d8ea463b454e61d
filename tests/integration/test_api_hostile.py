"""Raw hostile HTTP: what no client library would send, against a running server that has to stay well."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.integration.rest import API, Rest
from tests.integration.test_api_uploads import open_put
from tests.servers.dray import DrayServer, dray_server

MANY = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    with dray_server(tmp_path_factory.mktemp("hostile"), env={"DRAY_LIMITS_PART_SIZE": "1M"}) as running:
        yield running
        assert "Traceback" not in running.log
        assert Rest(running).upload("after", {"f": b"still works"})[0]["state"] == "accepted"


def talk(server: DrayServer, *blocks: bytes) -> bytes:
    """Send blocks and return all that comes until the server closes, or nothing more comes for a while."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), 5) as raw, contextlib.suppress(OSError):
        for block in blocks:
            raw.sendall(block)
        while block := raw.recv(65536):
            found += block
    return found


def statuses(answer: bytes) -> list[int]:
    return [int(line.split(b" ")[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def head(server: DrayServer, request: str, *headers: str) -> bytes:
    lines = [f"{request} HTTP/1.1", "Host: x", f"Authorization: Bearer {server.token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


JSON = "Content-Type: application/json"
SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Transfer-Encoding: xchunked", "Content-Length: 5"),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: \x0bchunked",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Content-Length: 0x5",),
        ("Content-Length: 5 5",),
        ("Content-Length: 99999999999999999999999999",),
        ("Content-Length : 5",),
        ("Content-Length:\r\n 5",),
        ("X: a\rb",),
        ("X: a\x00b",),
        ("\x00X: a",),
        (" folded: a",),
        ("X y: a",),
    ],
)
def test_no_request_has_two_readings(server: DrayServer, headers: tuple[str, ...]) -> None:
    body = b"0\r\n\r\n"
    answer = talk(server, head(server, f"POST {API}/datasets", JSON, *headers) + body + SMUGGLED)
    assert all(status < 500 for status in statuses(answer))
    assert len(statuses(answer)) <= 1, answer
    assert b"dray_requests" not in answer


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nabc\r\n0\r\n\r\n",
        b"zz\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"ffffffffffffffffff\r\nabc\r\n",
        b"3;" + b"x" * 70_000,
        b"3\nabc\n0\n\n",
    ],
)
def test_chunks_that_lie_are_refused(server: DrayServer, chunks: bytes) -> None:
    answer = talk(server, head(server, f"POST {API}/datasets", JSON, "Transfer-Encoding: chunked") + chunks)
    assert all(status < 500 for status in statuses(answer))
    assert b"dray_requests" not in answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET /\xff\xfe HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /%ff HTTP/1.1",
        b"GET //evil.example/ HTTP/1.1",
        b"GET http://evil.example/health HTTP/1.1",
        b"GET /api/v1/../../etc/passwd HTTP/1.1",
        b"GET /files/content/%2e%2e%2fadmin.token HTTP/1.1",
        b"GET /static/..%2f..%2fapp.py HTTP/1.1",
        b"GET /static/../app.py HTTP/1.1",
        b"GET " + b"/x" * 50_000 + b" HTTP/1.1",
        b"GET / HTTP/9.9",
        b"GET / HTTP/1.1 extra",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ],
)
def test_no_request_line_does_harm(server: DrayServer, line: bytes) -> None:
    answer = talk(server, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert all(status < 500 for status in statuses(answer))
    assert server.token.encode() not in answer
    assert b"import " not in answer


@pytest.mark.parametrize("host", ["", "a b", "a/b", 'a"b', "x" * 300 + "@", "evil.example\\@good"])
def test_a_host_that_is_none_is_not_put_into_a_url(server: DrayServer, host: str) -> None:
    rest = Rest(server)
    (staged,) = rest.stage("hosts", {f"f{len(host)}": 3})
    asked = {"items": [{"upload": staged["upload"], "number": 1}]}
    assert rest.post("/uploads/parts", asked, Host=host).status in (200, 400)
    assert rest.post("/uploads/parts", asked, Host=host).status != 200


def test_a_head_without_end_is_cut_off(server: DrayServer) -> None:
    answer = talk(server, b"GET / HTTP/1.1\r\n", *(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(3000)))
    assert statuses(answer) in ([400], [])


def test_a_body_that_nobody_asked_for_does_not_fill_the_memory(server: DrayServer) -> None:
    before = resident(server)
    for path in (f"{API}/me", f"{API}/uploads/bundle", "/login", "/health"):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 5) as raw:
            raw.sendall(head(server, f"POST {path}", "Content-Length: 4000000000"))
            for _ in range(64):
                raw.sendall(bytes(1 << 20))
    assert resident(server) - before < 40 << 20


def resident(server: DrayServer) -> int:
    """Return the resident memory of the server in bytes."""
    with open(f"/proc/{server.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_part_bodies_come_through_flat_memory(server: DrayServer) -> None:
    rest = Rest(server)
    size = 64 << 20
    (staged,) = rest.stage("memory", {"large": size})
    before = resident(server)
    for number in range(1, 65):
        assert rest.put(rest.url(staged["upload"], number), os.urandom(1 << 20)).status == 200
    assert resident(server) - before < 40 << 20


def test_many_slow_clients_do_not_keep_others_waiting(server: DrayServer) -> None:
    """Half of them never end their head, half of them their body."""
    rest = Rest(server)
    (staged,) = rest.stage("slow", {"f": 2 << 20})
    url, data = rest.url(staged["upload"], 1), bytes(1 << 20)
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            if number % 2:
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
                raw.sendall(b"GET / HTTP/1.1\r\nX: ")
            else:
                (one,) = rest.stage("slow", {f"f{number}": 2 << 20}) if number < 80 else (staged,)
                raw = stack.enter_context(open_put(server, rest.url(one["upload"], 2), data))
                raw.sendall(data[:300_000])
        assert rest.put(url, data).status == 200
        assert Rest(server, "").ask("GET", "/health").status == 200


def test_one_address_cannot_take_all_connections(server: DrayServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
        with socket.create_connection(("127.0.0.1", server.port), 30) as one_more, contextlib.suppress(ConnectionError):
            assert one_more.recv(1) == b""
        elsewhere = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30, ("127.0.0.2", 0)))
        elsewhere.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert elsewhere.recv(4096).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(server: DrayServer) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: r%d\r\n\r\n"
    answer = talk(server, b"".join(request % n for n in range(20)))
    found = [line.split(b" ")[1] for line in answer.split(b"\r\n") if line.startswith(b"x-request-id: ")]
    assert found == [b"r%d" % n for n in range(20)]


def test_half_a_hundred_clients_at_once_all_get_their_own_answer(server: DrayServer) -> None:
    wrong: list[object] = []

    def ask(number: int) -> None:
        answer = Rest(server).get("/me", **{"X-Request-Id": f"n{number}"})
        if (answer.status, answer.headers["x-request-id"]) != (200, f"n{number}"):
            wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
