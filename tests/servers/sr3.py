"""Real Sarracenia (metpx-sr3 from the package index) in an environment of its own, with a home of the test's own."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import Process, ServerTrouble
from tests.servers.rabbitmq import LAB, RabbitMQ

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / ".venv-sr3" / "bin" / "sr3"

READY = {"watch": "now active", "sender": "binding", "subscribe": "binding"}
"""What each component logs once it misses nothing any more."""

DEFAULT = """
housekeeping 10
sleep 0.2
instances 1
logReject on
"""


class Sr3:
    """One user of Sarracenia; each component that is started runs as one process in the foreground."""

    def __init__(self, base: Path, broker: RabbitMQ, credentials: tuple[str, ...] = ()) -> None:
        if not COMMAND.exists():
            raise ServerTrouble(f"{COMMAND} is missing: `make test-machine` installs it")
        self.home, self.broker = base, broker
        self.config = base / ".config" / "sr3"
        self.config.mkdir(parents=True)
        secret = self.config / "credentials.conf"
        secret.write_text("\n".join([broker.url(), *credentials, ""]))
        secret.chmod(0o600)
        (self.config / "default.conf").write_text(DEFAULT)
        self.processes: dict[str, Process] = {}

    @property
    def url(self) -> str:
        """The broker without its password, as configurations name it."""
        return self.broker.url(password=None)

    def start(self, component: str, name: str, options: Mapping[str, object]) -> Process:
        """Write the configuration of a component and run it until it is ready."""
        path = self.config / component / f"{name}.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{key} {value}\n" for key, value in options.items()))
        state = self.home / ".cache" / "sr3" / component / name
        state.mkdir(parents=True, exist_ok=True)
        process = Process(
            [str(COMMAND), "--logStdout", "foreground", f"{component}/{name}"],
            self.home / f"{component}_{name}.log",
            {"HOME": str(self.home), "USER": LAB, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        process.start()
        self.processes[f"{component}/{name}"] = process
        process.wait_ready(lambda: READY[component] in process.log.read_text(errors="replace"))
        return process

    def logs(self) -> str:
        """What all components said, for a test that fails."""
        return "\n".join(f"== {name}\n{process.tail()}" for name, process in self.processes.items())

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill9()


@contextmanager
def sr3(base: Path, broker: RabbitMQ, credentials: tuple[str, ...] = ()) -> Iterator[Sr3]:
    """Lend a user of Sarracenia."""
    user = Sr3(base, broker, credentials)
    try:
        yield user
    finally:
        user.stop()
