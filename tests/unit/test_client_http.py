"""The one HTTP stack against a real socket: bytes both ways, kept connections, every kind of trouble as an error."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from crc32c import crc32c

from dray.client.http import Http, HttpSettings, Request
from dray.client.rate import Rate
from dray.errors import Disconnected, IntegrityFailure, NoSpace, PieceDamaged, SourceChanged, Unreachable, UsageError
from dray.fs import Disk, FileRange
from tests.servers.process import free_port
from tests.servers.scripted import Answer, Received, scripted


def send(request, *, settings=None, rate=None, disk=None, times=1, moved=None):
    async def story():
        async with Http(settings or HttpSettings(), rate, disk or Disk()) as http:
            for _ in range(times):
                response = await http.send(request, moved)
            return response

    return asyncio.run(story())


def echo(request: Received) -> Answer:
    return Answer(200, request.body, {"X-Method": request.method})


@pytest.fixture
def content(tmp_path: Path):
    path = tmp_path / "content"
    path.write_bytes(os.urandom(3_000_000))
    fd = os.open(path, os.O_RDONLY)
    yield fd, path.read_bytes()
    os.close(fd)


@pytest.fixture
def target(tmp_path: Path):
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_bytes_and_ranges_of_files_are_sent_as_one_body(content):
    fd, data = content
    body = (b"head", FileRange(fd, 10, 2_500_000), b"", FileRange(fd, 2_500_010, 5), FileRange(fd, 0, 0), b"tail")
    with scripted(echo) as server:
        assert send(Request("PUT", server.url, (), body)).status == 200
    assert server.requests[0].body == b"head" + data[10:2_500_015] + b"tail"
    assert "expect" not in server.requests[0].headers


def test_every_byte_of_a_body_is_told_once(content):
    fd, _ = content
    seen = []
    with scripted(lambda request: Answer()) as server:
        send(Request("PUT", server.url, (), (FileRange(fd, 0, 3_000_000),)), moved=seen.append)
    assert sum(seen) == 3_000_000


def test_an_answer_fills_ranges_of_files_and_their_checksums_are_told(target):
    data = os.urandom(1_000_000)
    into = (FileRange(target, 100, 700_000), FileRange(target, 0, 0), FileRange(target, 800_000, 300_000))
    with scripted(lambda request: Answer(200, data)) as server:
        response = send(Request("POST", server.url, into=into))
    assert os.pread(target, 700_000, 100) == data[:700_000]
    assert os.pread(target, 300_000, 800_000) == data[700_000:]
    assert response.crcs == (crc32c(data[:700_000]), 0, crc32c(data[700_000:]))
    assert response.body == b""


def test_a_server_that_ignores_the_range_fills_nothing(target):
    request = Request("GET", "", (("Range", "bytes=10-19"),), into=(FileRange(target, 0, 10),))
    with scripted(lambda request: Answer(200, b"0123456789abcdefghij")) as server:
        response = send(Request(request.method, server.url, request.headers, into=request.into))
    assert (response.status, response.crcs) == (200, ())
    assert os.fstat(target).st_size == 0


def test_a_problem_document_is_kept_and_fills_nothing(target):
    with scripted(lambda request: Answer(404, b'{"code": "not-found"}')) as server:
        response = send(Request("GET", server.url, into=(FileRange(target, 0, 10),)))
    assert (response.status, response.body) == (404, b'{"code": "not-found"}')
    assert os.fstat(target).st_size == 0


def test_connections_are_kept():
    with scripted(echo) as server:
        send(Request("POST", server.url, (), (b"x",)), times=5)
    assert {request.connection for request in server.requests} == {1}


def test_a_kept_connection_that_the_server_closed_is_replaced_and_the_body_sent_anew(content):
    fd, data = content
    with scripted(lambda request: Answer(cut=True)) as server:
        send(Request("PUT", server.url, (), (b"head", FileRange(fd, 0, 1000))), times=3)
    assert [request.body for request in server.requests] == [b"head" + data[:1000]] * 3


def test_an_answer_that_comes_before_the_body_was_sent_is_the_answer(content):
    fd, _ = content
    with scripted(lambda request: Answer(409, b"no"), early=True) as server:
        response = send(Request("PUT", server.url, (), (FileRange(fd, 0, 3_000_000),)))
    assert (response.status, response.body) == (409, b"no")


def test_a_server_that_is_not_there_is_unreachable():
    with pytest.raises(Unreachable) as error:
        send(Request("GET", f"http://127.0.0.1:{free_port()}/x?signature=secret"))
    assert "secret" not in str(error.value)
    assert error.value.hint


def test_a_connection_cut_while_sending_is_told(content):
    fd, _ = content
    with scripted(echo, cut_after=1_000_000) as server, pytest.raises(Disconnected):
        send(Request("PUT", server.url, (), (FileRange(fd, 0, 3_000_000),)))


def test_an_answer_cut_short_is_told(target):
    with scripted(lambda request: Answer(200, b"x" * 1000, send=500, cut=True)) as server, pytest.raises(Disconnected):
        send(Request("GET", server.url, into=(FileRange(target, 0, 1000),)))


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\nContent-Len", b"HTTP/1.1 200 OK\r\nETag: x\r\n"])
def test_headers_cut_short_are_no_answer(sent):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Disconnected):
            send(Request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join()


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_body_with_another_checksum_than_it_should_have_never_arrives_whole(content, size):
    fd, data = content
    crc = crc32c(data[:size])
    with scripted(echo) as server:
        assert send(Request("PUT", server.url, (), (FileRange(fd, 0, size),), crc32c=crc)).status == 200
        with pytest.raises(PieceDamaged):
            send(Request("PUT", server.url, (), (FileRange(fd, 0, size),), crc32c=crc ^ 1))
    assert [len(request.body) for request in server.requests if len(request.body) == size] == [size]


def test_a_checked_body_is_sent_anew_when_a_kept_connection_was_closed(content):
    fd, data = content
    request = ("PUT", (FileRange(fd, 0, 1000),), crc32c(data[:1000]))
    with scripted(lambda request: Answer(cut=True)) as server:
        send(Request(request[0], server.url, (), request[1], crc32c=request[2]), times=3)
    assert len(server.requests) == 3


def test_an_answer_is_handed_on_as_it_comes():
    data, taken = os.urandom(3_000_001), bytearray()
    with scripted(lambda request: Answer(200, data)) as server:
        assert send(Request("GET", server.url, take=taken.extend)).body == b""
    assert bytes(taken) == data


def test_a_refusal_is_not_handed_on():
    taken = bytearray()
    with scripted(lambda request: Answer(404, b"no")) as server:
        assert send(Request("GET", server.url, take=taken.extend)).body == b"no"
    assert taken == b""


def test_an_answer_that_is_complete_but_too_short_is_told(target):
    with scripted(lambda request: Answer(200, b"x" * 500)) as server, pytest.raises(Disconnected):
        send(Request("GET", server.url, into=(FileRange(target, 0, 1000),)))


def test_an_answer_longer_than_the_file_is_refused(target):
    with scripted(lambda request: Answer(200, b"x" * 1001)) as server, pytest.raises(IntegrityFailure):
        send(Request("GET", server.url, into=(FileRange(target, 0, 1000),)))


def test_a_file_that_became_shorter_is_a_changed_source(content):
    fd, _ = content
    with scripted(echo) as server, pytest.raises(SourceChanged):
        send(Request("PUT", server.url, (), (FileRange(fd, 0, 3_000_001),)))


class FullDisk(Disk):
    def pwrite(self, fd, data, offset):
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_no_space(target):
    with scripted(lambda request: Answer(200, b"x" * 10)) as server, pytest.raises(NoSpace):
        send(Request("GET", server.url, into=(FileRange(target, 0, 10),)), disk=FullDisk())


def test_a_silent_server_is_given_up():
    with scripted(echo) as server:
        server.hang.clear()
        with pytest.raises(Disconnected):
            send(Request("GET", server.url), settings=HttpSettings(stall=1))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://"])
def test_other_protocols_are_refused(url):
    with pytest.raises(UsageError):
        send(Request("GET", url))


def test_redirects_are_not_followed_so_that_a_token_goes_nowhere_else():
    with scripted(lambda request: Answer(302, b"", {"Location": "http://127.0.0.1:1/"})) as server:
        assert send(Request("GET", server.url, (("Authorization", "Bearer x"),))).status == 302


def test_a_cancelled_request_lets_go_of_its_files_before_it_ends(content):
    fd, _ = content

    async def story(server):
        async with Http(HttpSettings()) as http:
            task = asyncio.create_task(http.send(Request("PUT", server.url, (), (FileRange(fd, 0, 1000),))))
            await asyncio.to_thread(server.arrived.acquire)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(http._handles) == 1, "the handle is back, so nothing runs on it any more"

    with scripted(echo) as server:
        server.hang.clear()
        asyncio.run(story(server))


def test_requests_run_side_by_side():
    arrived = threading.Barrier(4)

    def together(request):
        arrived.wait(10)
        return Answer()

    async def story(url):
        async with Http(HttpSettings(connections=4)) as http:
            await asyncio.gather(*(http.send(Request("GET", url)) for _ in range(4)))

    with scripted(together) as server:
        asyncio.run(story(server.url))


class SteppingClock:
    """Moves by what everybody waits for, so that a limited transfer takes no time."""

    def __init__(self):
        self.now = 0.0

    def wall(self):
        return self.now

    def monotonic(self):
        return self.now


def test_a_rate_gives_out_time_slots_one_after_another():
    clock = SteppingClock()
    rate = Rate(clock, 1000)
    assert [rate.take(500), rate.take(500), rate.take(0)] == [0, 0.5, 1.0]
    clock.now = 5
    assert rate.take(1) == 0


def test_a_rate_may_be_changed_and_lifted():
    rate = Rate(SteppingClock(), 1000)
    rate.take(1000)
    rate.limit = None
    assert rate.take(10**9) == 0
    assert rate.slice(10**9) == 10**9


def test_a_limited_connection_moves_small_slices():
    assert Rate(SteppingClock(), 1 << 20).slice(1 << 20) == 1 << 17
    assert Rate(SteppingClock(), 1).slice(1 << 20) == 1024


def test_a_limited_body_arrives_whole(content):
    fd, data = content
    with scripted(lambda request: Answer()) as server:
        send(Request("PUT", server.url, (), (FileRange(fd, 0, 300_000),)), rate=Rate(SteppingClock(), 10_000_000))
    assert server.requests[0].body == data[:300_000]
