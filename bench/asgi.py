"""Compare ASGI servers at Dray's own work: bodies into a file with crc32c, ranges of a file out, small JSON calls.

    python -m bench.asgi --size 256          # writes bench/ASGI.md; granian is compared when it is installed

One application for all; what a server adds is the protocol around it. The client for bodies is curl. Every server gets
a fresh process; its CPU seconds and peak memory are those of its whole process tree.
"""

import argparse
import asyncio
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crc32c

from bench.measure import cpu_of, tree_of
from dray.api.lane import Head, receive_body, send_file
from dray.api.lane_protocol import LaneProtocol
from dray.fs import FileRange

MIB = 1 << 20
FOLDER = "DRAY_BENCH_FOLDER"
REPORT = Path(__file__).with_name("ASGI.md")
CALL = json.dumps({"path": "run/0001.raw", "size": 123456, "checksum": "crc32c:01234567"}).encode()


# What every server serves


class Sink:
    """A file that is written in order while its crc32c is computed; its pages exist: no run pays for new ones."""

    def __init__(self) -> None:
        self.file = os.open(folder() / "put", os.O_WRONLY)
        self.crc, self.size = 0, 0

    def __call__(self, view: Any) -> None:
        self.crc = crc32c.crc32c(view, self.crc)
        self.size += os.pwrite(self.file, view, self.size)

    def close(self) -> bytes:
        os.close(self.file)
        return b"%08x" % self.crc


def folder() -> Path:
    return Path(os.environ[FOLDER])


async def app(scope: Any, receive: Any, send: Any) -> None:
    await {"PUT": keep, "GET": serve_file, "POST": call}[scope["method"]](scope, receive, send)


async def keep(scope: Any, receive: Any, send: Any) -> None:
    sink = Sink()
    await receive_body(scope, receive, sink)
    await answer(send, sink.close())


async def serve_file(scope: Any, receive: Any, send: Any) -> None:
    file = os.open(folder() / "source", os.O_RDONLY)
    try:
        await send_file(scope, receive, send, Head(200), FileRange(file, 0, os.fstat(file).st_size))
    finally:
        os.close(file)


async def call(scope: Any, receive: Any, send: Any) -> None:
    asked = json.loads((await receive())["body"])
    await answer(send, json.dumps({"id": 1, "state": "pending", "path": asked["path"]}).encode())


async def answer(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Bare(asyncio.Protocol):
    """Just enough HTTP for one PUT or GET a connection: what is left when there is no server at all."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.head, self.left = transport, b"", -1
        self.writable = asyncio.Event()
        self.writable.set()
        self.pause_writing, self.resume_writing = self.writable.clear, self.writable.set

    def data_received(self, data: bytes) -> None:
        if self.left < 0:
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if end:
                self.start(head)
        if self.left > 0 and data:
            self.take(data)

    def start(self, head: bytes) -> None:
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self.left = int(fields.get(b"content-length", 0))
        if head.startswith(b"GET"):
            self.task = asyncio.create_task(self.serve())
        else:
            self.sink = Sink()
            if b"expect" in fields:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def take(self, data: bytes) -> None:
        self.sink(data)
        self.left -= len(data)
        if not self.left:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + self.sink.close())

    async def serve(self) -> None:
        with open(folder() / "source", "rb", buffering=0) as file:  # noqa: ASYNC230
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % os.fstat(file.fileno()).st_size)
            while data := file.read(MIB):
                await self.writable.wait()
                self.transport.write(data)


# The servers


def uvicorn_server(loop: str, http: Any) -> Callable[[int], None]:
    def start(port: int) -> None:
        import uvicorn

        options: dict[str, Any] = {"lifespan": "off", "log_level": "warning", "access_log": False, "ws": "none"}
        uvicorn.run(app, host="127.0.0.1", port=port, loop=loop, http=http, **options)

    return start


def granian_server(port: int) -> None:
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.server import Server

    options: dict[str, Any] = {"interface": Interfaces.ASGINL, "loop": Loops.uvloop, "http": HTTPModes.http1}
    Server("bench.asgi:app", address="127.0.0.1", port=port, workers=1, log_enabled=False, **options).serve()


def bare_server(port: int) -> None:
    import uvloop

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(forever())


SERVERS: dict[str, tuple[str, Callable[[int], None]]] = {
    "uvicorn-asyncio": ("uvicorn, asyncio", uvicorn_server("asyncio", "httptools")),
    "uvicorn-uvloop": ("uvicorn, uvloop", uvicorn_server("uvloop", "httptools")),
    "lane-asyncio": ("uvicorn with LaneProtocol, asyncio", uvicorn_server("asyncio", LaneProtocol)),
    "lane-uvloop": ("uvicorn with LaneProtocol, uvloop", uvicorn_server("uvloop", LaneProtocol)),
    "granian": ("granian, ASGI, uvloop", granian_server),
    "bare": ("a bare asyncio protocol, uvloop, no HTTP library", bare_server),
}


# The measurement


@dataclass
class Row:
    """What one server did: MB/s and CPU seconds of each body, calls a second, peak bytes of memory."""

    name: str
    put: list[tuple[float, float]] = field(default_factory=list)
    get: list[tuple[float, float]] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    peak: int = 0

    def cells(self) -> list[str]:
        calls = f"{statistics.median(self.calls):,.0f}" if self.calls else ""
        return [self.name, *_middle(self.put), *_middle(self.get), calls, f"{self.peak / MIB:.0f}"]


def _middle(runs: list[tuple[float, float]]) -> list[str]:
    rates, cpu = zip(*runs, strict=True)
    return [f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})", f"{statistics.median(cpu):.2f}"]


@contextlib.contextmanager
def started(kind: str, port: int) -> Iterator[int]:
    """Run one server until the block ends; yield its process id once it answers."""
    process = subprocess.Popen([sys.executable, "-m", "bench.asgi", "--serve", kind, "--port", str(port)])
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{kind} did not start")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def measure(kinds: list[str], size: int, rounds: int, calls: int) -> list[Row]:
    """Run every server once a round, in turn, so that a busy moment of the machine does not meet only one of them."""
    rows = {kind: Row(SERVERS[kind][0]) for kind in kinds}
    with contextlib.ExitStack() as stack:
        ports = {kind: _free_port() for kind in kinds}
        pids = {kind: stack.enter_context(started(kind, ports[kind])) for kind in kinds}
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for kind, row in rows.items():
                measure_once(row, pids[kind], ports[kind], size, calls)
        for kind, row in rows.items():
            row.peak = sum(_peak(each) for each in tree_of(pids[kind]))
    return list(rows.values())


def measure_once(row: Row, pid: int, port: int, size: int, calls: int) -> None:
    url = f"http://127.0.0.1:{port}/files/x"
    row.put.append(_timed(pid, size, ["-T", str(folder() / "source"), url]))
    row.get.append(_timed(pid, size, [url, "-o", os.devnull]))
    if row.name != SERVERS["bare"][0]:
        row.calls.append(_calls(port, calls))


def _timed(pid: int, size: int, arguments: list[str]) -> tuple[float, float]:
    """Return MB/s by curl's own clock, and the server's CPU seconds."""
    pids = tree_of(pid)
    before = cpu_of(pids)
    command = ["curl", "-sS", "--fail", "-w", " %{time_total}", *arguments]
    body, _, wall = subprocess.run(command, check=True, capture_output=True, text=True).stdout.rpartition(" ")
    if "-T" in arguments and body != (folder() / "crc").read_text():
        raise RuntimeError("the file that arrived is another one")
    return size / 1e6 / float(wall), cpu_of(pids) - before


def _calls(port: int, count: int) -> float:
    request = b"POST /api HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    request %= (len(CALL), CALL)
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        for _ in range(count):
            peer.sendall(request)
            got = b""
            while not got.endswith(b"}"):
                got += peer.recv(4096)
        return count / (time.perf_counter() - start)


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def make_source(size: int) -> None:
    block, crc = os.urandom(MIB), 0
    with open(folder() / "source", "wb") as file:
        for start in range(0, size, MIB):
            crc = crc32c.crc32c(part := block[: min(MIB, size - start)], crc)
            file.write(part)
    shutil.copy(folder() / "source", folder() / "put")
    (folder() / "crc").write_text(f"{crc:08x}")


# The report


def report(rows: list[Row], arguments: argparse.Namespace) -> str:
    columns = ["server", "PUT MB/s", "CPU s", "GET MB/s", "CPU s", "JSON calls/s", "peak MiB"]
    table = [columns, ["---", *["---:"] * (len(columns) - 1)], *(row.cells() for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([*_preface(arguments), *lines, ""])


def _preface(arguments: argparse.Namespace) -> list[str]:
    packages = ["uvicorn", "httptools", "uvloop", "granian", "crc32c"]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages if importlib.util.find_spec(name)]
    curl = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return [
        "# ASGI servers at Dray's work",
        "",
        "Generated by `python -m bench.asgi`; do not edit.",
        "",
        f"- {datetime.date.today()}; {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB; "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"- {', '.join(versions)}, curl {curl}",
        f"- body {arguments.size} MiB over an existing file on {arguments.kind} with crc32c (PUT), from such a file "
        f"(GET); median of {arguments.repeat} rounds (least-most)",
        "- CPU is the server's, user and system, of its whole process tree; the client shares the cores, and so did "
        f"whatever else ran (load average {arguments.load:.1f} before the first round)",
        f"- {arguments.calls} JSON calls on one kept connection; peak memory is the sum over the process tree",
        "",
    ]


def _file_system(place: str) -> str:
    return subprocess.run(["stat", "-f", "-c", "%T", place], check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    names = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--size", type=int, default=1024, help="MiB of one body")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--folder", help="where files are written; a temporary one by default")
    parser.add_argument("--stdout", action="store_true", help=f"print the table instead of writing {REPORT.name}")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = options()
    if arguments.serve:
        return SERVERS[arguments.serve][1](arguments.port)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        arguments.load = os.getloadavg()[0]
        arguments.kind = _file_system(place)
        os.environ[FOLDER] = place
        make_source(arguments.size * MIB)
        kinds = [kind for kind in arguments.only if kind != "granian" or importlib.util.find_spec("granian")]
        rows = measure(kinds, arguments.size * MIB, arguments.repeat, arguments.calls)
    text = report(rows, arguments)
    print(text) if arguments.stdout else REPORT.write_text(text)


if __name__ == "__main__":
    main()
