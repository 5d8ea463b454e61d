"""Real Sarracenia in the place of the agent: the same directory, the same account, the same drops, the same judge."""

import os
import pwd
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.account import Account
from tests.faults.store import Stored
from tests.servers.process import LOOPBACK, Process
from tests.servers.rabbitmq import rabbitmq
from tests.servers.sr3 import Sr3, sr3
from tests.servers.sshd import Sshd, sshd

QUIET = 25.0
"""Seconds without any change at the destination after which nothing more is expected: several rounds of everything
that it does again by itself, as it is configured here."""

READY = 2.0


def _end(process: Process) -> None:
    """Kill what a component started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Pair:
    """A watch and a sender, each one process in the foreground; started, stopped and killed as one agent is."""

    def __init__(self, user: Sr3, options: dict[str, dict[str, object]]) -> None:
        self._user, self._options = user, options

    def start(self) -> None:
        for component, options in self._options.items():
            self._user.start(component, "lab", options)
        time.sleep(READY)  # what it logs when it is ready is in its log from the first time on

    def terminate(self) -> int:
        """Ask both to end, as ``sr3 stop`` does, the watch first."""
        for name in ("watch/lab", "sender/lab"):
            process = self._user.processes[name]
            process.signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            _end(process)
        return 0

    def signal(self, number: int) -> None:
        for process in self._user.processes.values():
            os.killpg(process.pid, number)

    def wait(self) -> int:
        return next(reversed([process.wait() for process in self._user.processes.values()]))


SLEEP = 5
"""Seconds between two rounds of its watch, as its example has it."""


class Rival(Account):
    """See ``Account``."""

    slow = 2.0

    def __init__(self, base: Path, chance: random.Random, host: Sshd, user: Sr3) -> None:
        super().__init__(base, chance, host)
        self.store.mkdir()
        exchange, to = user.broker.unique("xs"), address(host)
        watch = {"post_broker": user.url, "post_exchange": exchange, "post_baseUrl": f"file:{self.hot}"}
        watch |= {
            "path": self.hot,
            "fileEvents": "-delete,rmdir",
            "nodupe_ttl": "on",
            "sleep": SLEEP,
            "reject": r".*\.tmp$",
        }
        sender = {"broker": user.url, "exchange": exchange, "sendTo": to, "baseDir": self.hot, "directory": self.store}
        options = {"sender": {**sender, "inflight": ".tmp", "accept": ".*"}, "watch": {**watch, "accept": ".*"}}
        self.agent = Pair(user, options)  # type: ignore[assignment]

    def settled(self, seconds: float = QUIET) -> float:
        """Wait until all is there, or nothing has changed for long."""
        began = changed = time.monotonic()
        size = -1
        while self.missing() and time.monotonic() < changed + seconds:
            if (now := self.bytes()) != size:
                size, changed = now, time.monotonic()
            time.sleep(0.2)
        return time.monotonic() - began

    def final(self) -> list[Stored]:
        return [one for one in super().final() if not one.key.endswith(".tmp")]

    def stop(self) -> None:
        self.witness.stop()
        self.ledger.close()


def address(host: Sshd) -> str:
    return f"sftp://{pwd.getpwuid(os.getuid()).pw_name}@{LOOPBACK}:{host.port}"


@contextmanager
def rival(base: Path, chance: random.Random) -> Iterator[Rival]:
    """Lend a directory that Sarracenia looks after, not started yet."""
    with sshd(base / "sshd") as host, rabbitmq() as broker:
        key = f"{address(host)}/ ssh_keyfile={host.base / 'id'}"
        with sr3(base / "sr3", broker, (key,)) as user:
            made = Rival(base, chance, host, user)
            try:
                yield made
            finally:
                made.stop()
