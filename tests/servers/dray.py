"""`dray up` as users start it: the installed command in a process of its own."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import LOOPBACK, Process, answers, free_port

DRAY = Path(sys.executable).parent / "dray"


def clean_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without DRAY_* and proxies, and with a home of the test's own."""
    foreign = ("DRAY_", "XDG_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
    return kept | {"HOME": str(home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | dict(extra or {})


class DrayServer:
    """A server on its own data directory and port, which stay the same over kills and restarts."""

    def __init__(
        self,
        base: Path,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        command: str = "up",
    ) -> None:
        self.data, self.home, self.port = base / "data", base / "home", free_port()
        self.home.mkdir(parents=True, exist_ok=True)
        listen = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{listen}"
        full = [*prefix, str(DRAY), command, "--data", str(self.data), "--listen", listen, *options]
        self.process = Process(full, base / "dray.log", clean_environment(self.home, env))

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    @property
    def log(self) -> str:
        return self.process.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def client_environment(self) -> dict[str, str]:
        """What the `dray` command needs to talk to this server."""
        return clean_environment(self.home, {"DRAY_URL": self.url, "DRAY_TOKEN": self.token})

    def start(self, seconds: float = 60) -> None:
        """Start and wait until /health answers."""
        self.process.start()
        self.process.wait_ready(lambda: answers(self.port, "/health"), seconds)

    def kill9(self) -> None:
        self.process.kill9()

    def terminate(self, seconds: float = 30) -> int:
        return self.process.terminate(seconds)

    def restart(self) -> None:
        """Start again on the same data and port, after a drain if it still runs."""
        self.process.stop()
        self.start()


@contextmanager
def dray_server(
    base: Path, options: Sequence[str] = (), env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[DrayServer]:
    """Lend a running `dray up`; `prefix` goes before the command (strace and the like)."""
    server = DrayServer(base, options, env, prefix)
    try:
        server.start()
        yield server
    finally:
        server.process.stop()
