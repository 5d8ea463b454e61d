"""The servers of the benchmark, each on a free loopback port in its own directory."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRAY = [str(Path(sys.executable).with_name("dray"))]


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, its process, and the directory that holds what it stores."""

    url: str
    pid: int
    root: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server answers HTTP, whatever the status."""
    for _ in range(600):
        with contextlib.suppress(urllib.error.HTTPError):
            try:
                urllib.request.urlopen(url, timeout=2).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        if process.poll() is not None:
            break
    raise RuntimeError(f"the server at {url} does not answer:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def process(command: Sequence[str], url: str, root: Path, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Run a server until the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    log = root.with_suffix(".log")
    with log.open("ab") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 env={**os.environ, **(env or {})}, start_new_session=True)  # fmt: skip
    try:
        wait_for(url, child, log)
        yield Server(url, child.pid, root)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextlib.contextmanager
def dray(root: Path, *, without_fsync: bool = False) -> Iterator[Server]:
    """Run `dray up`; ``without_fsync`` preloads libeatmydata, which turns every fsync of the process into nothing."""
    port = free_port()
    env = {"LD_PRELOAD": "libeatmydata.so"} if without_fsync else None
    command = [*DRAY, "up", "--data", str(root), "--listen", f"127.0.0.1:{port}"]
    with process(command, f"http://127.0.0.1:{port}/health", root, env) as server:
        yield Server(f"http://127.0.0.1:{port}", server.pid, root)


def dray_client_env(server: Server) -> dict[str, str]:
    """Return the environment that gives a client the admin token and a configuration of its own."""
    home = server.root.with_name(server.root.name + "-home")
    home.mkdir(exist_ok=True)
    names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME")
    token = (server.root / "admin.token").read_text().strip()
    return {"DRAY_URL": server.url, "DRAY_TOKEN": token, **{name: str(home) for name in names}}


NGINX = """
daemon off; worker_processes 2; pid {root}/nginx.pid; error_log {root}/error.log warn; {user}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; client_max_body_size 0; client_body_temp_path {root}/tmp; keepalive_requests 1000000;
  proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{ listen 127.0.0.1:{port}; root {root}/data;
    location / {{ dav_methods PUT DELETE MKCOL; create_full_put_path on; }} }}
}}
"""


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[Server]:
    """Run nginx with WebDAV, its upload directory on the same file system as the destination."""
    port = free_port()
    for name in ("data", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (root / "nginx.conf").write_text(NGINX.format(root=root, port=port, user=user))
    with process(["nginx", "-c", str(root / "nginx.conf")], f"http://127.0.0.1:{port}/", root) as server:
        yield Server(server.url, server.pid, root / "data")


@contextlib.contextmanager
def rclone(root: Path, binary: str) -> Iterator[Server]:
    """Run `rclone serve webdav`."""
    port = free_port()
    command = [binary, "--config", "/dev/null", "serve", "webdav", str(root), "--addr", f"127.0.0.1:{port}"]
    with process(command, f"http://127.0.0.1:{port}/", root) as server:
        yield server


@contextlib.contextmanager
def tus(root: Path) -> Iterator[Server]:
    """Run the reference tus server with its file store."""
    port = free_port()
    command = ["node", str(HERE / "tus-server.mjs"), str(port), str(root)]
    with process(command, f"http://127.0.0.1:{port}/files/", root) as server:
        yield server
