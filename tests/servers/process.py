"""Start, watch and stop one server process that a test owns."""

import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"


class ServerTrouble(Exception):
    """A server did not start or stop; the message ends with what it logged."""


def find_command(name: str, package: str) -> str:
    """Return the path of a command, or fail naming the Debian package that has it: nothing skips silently."""
    directories = [*os.get_exec_path(), "/usr/sbin", "/usr/lib/postgresql/15/bin"]
    found = shutil.which(name, path=os.pathsep.join(directories))
    if found is None:
        raise ServerTrouble(
            f"{name} is missing: install the Debian package {package} (scripts/setup-test-machine does)"
        )
    return found


def free_port() -> int:
    """Find a port nobody listens on, below those of outgoing connections, so that a restart finds it free."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def wait_until(ready: Callable[[], bool], seconds: float, what: str, trouble: Callable[[], str | None]) -> None:
    """Poll until `ready`; raise early when `trouble` says why it never will be."""
    deadline = time.monotonic() + seconds
    while not ready():
        problem = trouble()
        if problem or time.monotonic() > deadline:
            raise ServerTrouble(f"{what}: {problem or f'not ready after {seconds:.0f} s'}")
        time.sleep(0.05)


def answers(port: int, path: str | None = None) -> bool:
    """Tell whether the port accepts connections or, when a path is given, answers GET with a 2xx."""
    if path is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((LOOPBACK, port)) == 0
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Process:
    """One child in a session of its own, with its output in a log file; it may be started again after it ended."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        self.command, self.log = list(command), log
        self.env, self.user = env, user
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.child is not None, "not started"
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def start(self) -> None:
        assert not self.running, "already running"
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
                env=None if self.env is None else dict(self.env),
                start_new_session=True,
                **({"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}),
            )

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        wait_until(ready, seconds, self.command[0], self.ended_early)

    def ended_early(self) -> str | None:
        if self.running:
            return None
        return f"ended with {self.child.returncode if self.child else 'nothing'}; log:\n{self.tail()}"

    def tail(self, size: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 30) -> int:
        assert self.child is not None, "not started"
        return self.child.wait(seconds)

    def terminate(self, seconds: float = 30) -> int:
        """Ask it to end and return its exit code; what does not end in time is killed and reported."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise ServerTrouble(f"{self.command[0]} ignored SIGTERM for {seconds:.0f} s; log:\n{self.tail()}") from None

    def kill9(self) -> None:
        """Kill it and whatever it started in its session, and wait until it is gone."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    def stop(self) -> None:
        """Tidy up at the end of a test, whatever state it is in."""
        if self.running:
            self.terminate()
