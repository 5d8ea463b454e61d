"""The proxy does exactly the harm that was ordered, and says so."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.bodies import Bodies
from tests.faults.link import Link, link_to
from tests.servers.process import LOOPBACK


class Sink:
    """A server that keeps what each connection brought and answers ``seen``."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.brought: list[bytes | str] = []
        self.changed = threading.Condition()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection: socket.socket) -> None:
        data = b""
        with connection:
            try:
                while block := connection.recv(1 << 16):
                    data += block
                connection.sendall(b"seen")
                brought: bytes | str = data
            except ConnectionError:
                brought = f"reset after {len(data)}"
        with self.changed:
            self.brought.append(brought)
            self.changed.notify_all()

    def wait(self, count: int = 1) -> list[bytes | str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.brought) >= count, 20)
            return self.brought


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.listener.close()


@pytest.fixture
def link(sink: Sink, tmp_path: Path) -> Iterator[Link]:
    with link_to(tmp_path, sink.port) as link:
        yield link


def send(link: Link, data: bytes) -> bytes:
    """Send through the proxy and return the answer; raises ConnectionError when the connection was reset."""
    with socket.create_connection((LOOPBACK, link.port), timeout=20) as connection:
        connection.sendall(data)
        with suppress(OSError):  # reset already: the next line finds out
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while block := connection.recv(1 << 16):
            answer += block
        return answer


def test_without_faults_everything_passes_unchanged(link: Link, sink: Sink) -> None:
    assert send(link, bytes(range(256)) * 4000) == b"seen"
    assert sink.wait() == [bytes(range(256)) * 4000]
    assert link.order()["up"] == 1_024_000
    assert link.fired == []


def test_a_cut_by_fin_lets_exactly_the_ordered_bytes_pass(link: Link, sink: Sink) -> None:
    link.order("cut", way="up", after=100_001, how="fin")
    send(link, b"x" * 300_000)
    assert sink.wait() == [b"x" * 100_001]
    assert [fired.split(";")[0] for fired in link.fired] == ["cut fin of 1 of 1 connections"]


def test_a_cut_by_rst_resets_the_client(link: Link, sink: Sink) -> None:
    link.order("cut", way="up", after=5, how="rst")
    with pytest.raises(ConnectionError):
        send(link, b"x" * 4_000_000)
    assert len(link.fired) == 1
    assert send(link, b"again") == b"seen"


def test_a_flip_changes_one_byte_and_only_once(link: Link, sink: Sink) -> None:
    link.order("flip", way="up", after=7, mask=0x20)
    send(link, b"0123456Hello")
    send(link, b"0123456Hello")
    assert sink.wait(2) == [b"0123456hello", b"0123456Hello"]


def test_a_flip_can_be_aimed_at_file_bytes(link: Link, sink: Sink) -> None:
    request = b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nJSONPUT /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
    link.order("flip", way="up", after=2, mask=1, body="files")
    send(link, request)
    assert sink.wait() == [request[:-2] + b"ey"]
    assert link.fired[0].endswith("PUT /b HTTP/1.1")
    assert link.order()["files"] == 4


def test_a_flip_can_be_aimed_at_documents(link: Link, sink: Sink) -> None:
    request = b"PUT /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyPOST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nJSON"
    link.order("flip", way="up", after=1, mask=1, body="documents")
    send(link, request)
    assert sink.wait() == [request[:-3] + b"RON"]


def test_a_hole_keeps_the_connection_and_passes_nothing_until_it_is_cleared(link: Link, sink: Sink) -> None:
    link.order("hole", way="up")
    with socket.create_connection((LOOPBACK, link.port), timeout=20) as connection:
        connection.sendall(b"x")
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert (link.order()["up"], len(link.fired)) == (0, 1)
        link.order("clear")
        connection.settimeout(20)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4) == b"seen"


def test_a_link_that_is_down_refuses_and_comes_back(link: Link, sink: Sink) -> None:
    with socket.create_connection((LOOPBACK, link.port), timeout=20) as connection:
        connection.sendall(b"x")
        waiter = threading.Thread(target=link.order, args=("down",), kwargs={"seconds": 1.0})
        waiter.start()
        with pytest.raises(ConnectionError):
            connection.recv(1)
        with pytest.raises(ConnectionError):
            send(link, b"x")
        waiter.join()
    assert send(link, b"y") == b"seen"


def test_slices_and_delays_change_no_byte(link: Link, sink: Sink) -> None:
    for fault in ({"fault": "slice", "most": 11, "seconds": 0}, {"fault": "latency", "seconds": 0.001}):
        link.order(**fault, way="up")
    link.order("rate", way="down", bytes=1000)
    link.order("slow_close", way="up", seconds=0.1)
    assert send(link, bytes(200)) == b"seen"
    assert sink.wait() == [bytes(200)]


MANIFEST = b'{"items": []}'
BUNDLE = len(MANIFEST).to_bytes(4, "big") + MANIFEST + b"FILES"
STREAM = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    + b"PUT /files/1 HTTP/1.1\r\ncontent-length: 5\r\n\r\nFILES"
    + b"POST /api/v1/uploads/bundle HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(BUNDLE), BUNDLE)
    + b"POST /api/v1/uploads HTTP/1.1\r\nContent-Length: 4\r\n\r\nJSON"
    + b"PUT /files/2 HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    + b"PUT /files/3 HTTP/1.1\r\nContent-Length: 5\r\n\r\nFILES"
)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 50, 1000])
def test_file_bytes_are_found_however_the_stream_is_cut_into_blocks(block: int) -> None:
    bodies, found, documents = Bodies(), b"", b""
    for start in range(0, len(STREAM), block):
        data = STREAM[start : start + block]
        found += b"".join(data[begin:end] for begin, end in bodies.feed(data))
        documents += b"".join(data[begin:end] for begin, end in bodies.documents)
    assert found == b"FILES" * 3
    assert documents == MANIFEST + b"JSON"
