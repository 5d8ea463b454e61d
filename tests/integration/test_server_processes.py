"""The life of server processes: start, stop, apart on PostgreSQL, and what they say when they cannot."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.rest import API, Rest
from tests.servers.dray import DRAY, DrayServer, clean_environment, dray_server
from tests.servers.process import Process


def run(*arguments: str, home: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends by itself."""
    given = clean_environment(home, env)
    return subprocess.run([str(DRAY), *arguments], env=given, capture_output=True, text=True, timeout=120, check=False)


def test_a_port_that_is_taken_is_said_plainly_and_nothing_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("up", "--data", str(tmp_path / "data"), "--listen", where, home=tmp_path)
    assert ended.returncode == 2
    assert where in ended.stderr
    assert "in use" in ended.stderr
    assert "--listen" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", "256.1.1.1:80", ":::1:x"])
def test_an_address_that_is_none_is_a_usage_error(tmp_path: Path, listen: str) -> None:
    ended = run("up", "--data", str(tmp_path / "data"), "--listen", listen, home=tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with dray_server(tmp_path / "first") as server:
        ended = run("up", "--data", str(server.data), "--listen", "127.0.0.1:0", home=tmp_path)
        assert ended.returncode == 5
        assert "Traceback" not in ended.stderr


def test_servers_apart_need_a_database_they_share(tmp_path: Path) -> None:
    for command in ("serve", "worker"):
        ended = run(command, "--data", str(tmp_path / "data"), home=tmp_path)
        assert ended.returncode == 2
        assert "database.url" in ended.stderr


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    with dray_server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        raw.sendall(
            f"GET {API}/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        server.process.signal(signal.SIGTERM)
        server.process.signal(signal.SIGTERM)
        assert server.process.wait(30) in (0, 130)
        assert "Traceback" not in server.log


def test_streams_and_long_polls_end_when_the_server_drains(tmp_path: Path) -> None:
    with dray_server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        rest = Rest(server)
        (staged,) = rest.stage("d", {"f": 5})
        for path in (
            "events/stream HTTP/1.1\r\nHost: x",
            f"uploads?id={staged['upload']}&wait=30 HTTP/1.1\r\nHost: x",
        ):
            raw.sendall(f"GET {API}/{path}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.terminate(25) == 0
        assert "Traceback" not in server.log


def test_a_restart_goes_on_where_it_was_and_keeps_sessions_and_urls(tmp_path: Path) -> None:
    with dray_server(tmp_path) as server:
        rest = Rest(server)
        (verdict,) = rest.upload("d", {"f": b"kept"})
        (signed,) = rest.post("/files/urls", {"items": [{"file": verdict["file"]}]}).items
        token = server.token
        assert server.terminate() == 0
        server.start()
        assert server.token == token
        assert Rest(server, "").ask("GET", signed["url"]).body == b"kept"
        assert "administrator's token" not in server.log.split("ready at")[-2][-400:].split("stopping")[-1]


@contextmanager
def worker(server: DrayServer, env: dict[str, str]) -> Iterator[Process]:
    process = Process(
        [str(DRAY), "worker", "--data", str(server.data)], server.data / "w.log", clean_environment(server.home, env)
    )
    process.start()
    try:
        yield process
    finally:
        process.stop()


def test_api_and_workers_run_apart_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    secret = tmp_path / "database.url"
    secret.write_text(postgres_url)
    secret.chmod(0o600)
    env = {"DRAY_DATABASE_URL_FILE": str(secret)}
    server = DrayServer(tmp_path, env=env, command="serve")
    try:
        server.start()
        rest = Rest(server)
        (staged,) = rest.stage("d", {"f": 5})
        rest.bundle([(staged["upload"], b"bytes")])
        (waits,) = rest.complete([(staged["upload"], b"bytes")], wait=0)
        assert waits["state"] == "uploaded"
        with worker(server, env), worker(server, env):
            (verdict,) = rest.get(f"/uploads?id={staged['upload']}&wait=30").items
            assert verdict["state"] == "accepted"
            assert rest.upload("d", {f"g{n}": b"x" * n for n in range(40)})[39]["state"] == "accepted"
        assert rest.get("/status").json["database"] == "postgresql"
        assert server.terminate() == 0
        assert "Traceback" not in server.log
    finally:
        server.process.stop()
