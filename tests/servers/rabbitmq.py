"""A RabbitMQ node of the test's own: temporary directory, own ports, own epmd, ordinary user, users known at its start.

The account ``lab`` has the rights that Sarracenia gives a source: its queues are called ``q_lab...``, its exchanges
``xs_lab...``; ``admin`` may do everything.
"""

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from tests.servers.process import LOOPBACK, Process, ServerTrouble, answers, find_command, free_port

PACKAGE = "rabbitmq-server"
BIN = Path("/usr/lib/rabbitmq/bin")
"""Where the real scripts are: those on the path switch to another user."""

LAB, ADMIN = "lab", "admin"
PASSWORD = "pass-word"
HELLO = b"AMQP\x00\x00\x09\x01"

CONFIG = """
listeners.tcp.1 = {host}:{port}
load_definitions = {directory}/definitions.json
disk_free_limit.absolute = 50MB
heartbeat = 10
"""

TLS = """
listeners.ssl.1 = {host}:{tls_port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
"""

WRITES = "^q_{0}.*|^xs_{0}.*"
READS = "^q_{0}.*|^x[lrs]_{0}.*|^x.*public$"


class RabbitMQ:
    """A broker that may be killed and started again on the same data; ``certificate`` and ``key`` make it speak TLS."""

    def __init__(
        self,
        directory: Path,
        users: Sequence[str] = (LAB,),
        tls: tuple[Path, Path, Path] | None = None,
        more: str = "",
    ) -> None:
        self.directory = directory
        self.port, self.tls_port = free_port(), free_port()
        self.numbers = count(1)
        self.account = "rabbitmq" if os.geteuid() == 0 else None
        epmd, distribution = free_port(), free_port()
        env = self._environment(epmd, distribution)
        server = BIN / "rabbitmq-server"
        if not server.exists():
            raise ServerTrouble(f"{server} is missing: install the Debian package {PACKAGE}")
        self.process = Process([str(server)], directory / "broker.log", env, self.account)
        self.epmd = Process(
            [find_command("epmd", "erlang-base"), "-port", str(epmd), "-address", LOOPBACK],
            directory / "epmd.log",
            env,
            self.account,
        )
        self._configure(users, tls, more)

    def password_file(self, directory: Path) -> Path:
        """Write the password where its owner alone may read it."""
        path = directory / "broker.password"
        path.write_text(f"{PASSWORD}\n")
        path.chmod(0o600)
        return path

    def unique(self, kind: str, user: str = LAB) -> str:
        """Return a name that no other test uses: ``q`` for queues, ``xs`` for exchanges."""
        return f"{kind}_{user}_{next(self.numbers)}"

    def url(self, user: str = LAB, password: str | None = PASSWORD) -> str:
        secret = "" if password is None else f":{password}"
        return f"amqp://{user}{secret}@{LOOPBACK}:{self.port}/"

    def start(self, seconds: float = 90) -> None:
        """Start and wait until it talks AMQP."""
        if not self.epmd.running:
            self.epmd.start()
        self.process.start()
        self.process.wait_ready(self.answers, seconds)

    def answers(self) -> bool:
        """Tell whether it answers as a broker that is ready does: its listeners open last."""
        if not answers(self.port):
            return False
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), 5) as talk:
            talk.settimeout(5)
            talk.sendall(HELLO)
            return talk.recv(1) == b"\x01"
        return False

    def kill9(self) -> None:
        self.process.kill9()

    def restart(self) -> None:
        """Stop in order and start again."""
        self.process.signal(signal.SIGTERM)
        self.process.wait(60)
        self.start()

    def stop(self) -> None:
        self.process.kill9()
        self.epmd.kill9()

    def _environment(self, epmd: int, distribution: int) -> dict[str, str]:
        here = str(self.directory)
        return {
            "PATH": os.environ["PATH"],
            "HOME": here,
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": f"dray{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": f"{here}/db",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _configure(self, users: Sequence[str], tls: tuple[Path, Path, Path] | None, more: str) -> None:
        text = CONFIG.format(host=LOOPBACK, port=self.port, directory=self.directory) + more
        if tls:
            ca, certificate, key = (shutil.copy(path, self.directory) for path in tls)
            text += TLS.format(host=LOOPBACK, tls_port=self.tls_port, ca=ca, certificate=certificate, key=key)
        (self.directory / "rabbitmq.conf").write_text(text)
        (self.directory / "plugins").write_text("[].")
        (self.directory / "definitions.json").write_text(json.dumps(_definitions(users)))
        if self.account:
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, self.account, self.account)


def _definitions(users: Sequence[str]) -> dict[str, object]:
    everything = {"user": ADMIN, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    rights = [
        {
            "user": user,
            "vhost": "/",
            "configure": WRITES.format(user),
            "write": WRITES.format(user),
            "read": READS.format(user),
        }
        for user in users
    ]
    return {
        "rabbit_version": "3.10.0",
        "users": [_user(ADMIN, "administrator"), *(_user(user, "") for user in users)],
        "vhosts": [{"name": "/"}],
        "permissions": [everything, *rights],
    }


def _user(name: str, tags: str) -> dict[str, str]:
    salt = b"salt"
    digest = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    return {"name": name, "password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": tags}


@contextmanager
def rabbitmq(
    users: Sequence[str] = (LAB,), tls: tuple[Path, Path, Path] | None = None, more: str = ""
) -> Iterator[RabbitMQ]:
    """Lend a running broker; ``more`` are lines of its configuration."""
    with tempfile.TemporaryDirectory(prefix="dray-rmq-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        broker = RabbitMQ(directory, users, tls, more)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()
