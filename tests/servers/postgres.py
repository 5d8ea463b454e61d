"""A PostgreSQL cluster of the test's own: temporary directory, own port, ordinary user."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from tests.servers.process import LOOPBACK, Process, ServerTrouble, find_command, free_port

PACKAGE = "postgresql-15"
USER, PASSWORD = "dray", "dray-test"
SETTINGS = {"max_connections": "100", "log_min_messages": "warning"}
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A running cluster. Databases are made per test; the cluster may be killed and started again on the same data."""

    def __init__(self, directory: Path, durable: bool = False) -> None:
        self.directory, self.data = directory, directory / "data"
        self.port = free_port()
        self.account = "postgres" if os.geteuid() == 0 else None
        self.numbers = count(1)
        settings = SETTINGS | ({} if durable else QUICK)
        command = [
            *(find_command("postgres", PACKAGE), "-D", str(self.data), "-h", LOOPBACK, "-p", str(self.port)),
            *("-k", str(directory)),
            *(f"--{name}={value}" for name, value in settings.items()),
        ]
        self.process = Process(command, directory / "postgres.log", self.environment(), self.account)

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LC_ALL": "C.UTF-8"}

    def initialise(self) -> None:
        """Make the cluster's files, as an ordinary user because PostgreSQL refuses root."""
        password = self.directory / "password"
        password.write_text(PASSWORD)
        if self.account:
            shutil.chown(self.directory, self.account, self.account)
            shutil.chown(password, self.account, self.account)
        quick = ["--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256"]
        command = [find_command("initdb", PACKAGE), "-D", str(self.data), "-U", USER, f"--pwfile={password}", *quick]
        as_user = {"user": self.account, "group": self.account, "extra_groups": []} if self.account else {}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.directory, env=self.environment(), check=False, **as_user
        )
        if done.returncode:
            raise ServerTrouble(f"initdb failed: {done.stderr}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def url(self, database: str = "postgres", driver: str = "postgresql") -> str:
        return f"{driver}://{USER}:{PASSWORD}@{LOOPBACK}:{self.port}/{database}"

    def start(self, attempts: int = 20) -> None:
        """Start and wait for a real query; after a kill -9 the old backends may hold the memory for a moment."""
        for left in reversed(range(attempts)):
            self.process.start()
            try:
                return self.process.wait_ready(self.answers)
            except ServerTrouble:
                if self.process.running or not left or "shared memory" not in self.process.tail(500):
                    raise

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def kill9(self) -> None:
        """Crash the cluster: the postmaster first, so that no backend can finish its work in order."""
        self.process.kill9()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back."""
        if self.process.running:
            self.process.signal(signal.SIGINT)
            self.process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def make_template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make a database that `fresh_database(name)` copies, filled by `prepare(url)`; made once a cluster."""
        if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.execute(f'CREATE DATABASE "{name}"')
            prepare(self.url(name))
        return name

    @contextmanager
    def fresh_database(self, template: str = "template0") -> Iterator[str]:
        """Lend a new database by its URL and drop it afterwards, connections and all."""
        name = f"test_{next(self.numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            if self.process.running:
                self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def postgres_cluster(durable: bool = False) -> Iterator[Postgres]:
    """Lend a running cluster; `durable` keeps fsync on, for tests of faults."""
    with tempfile.TemporaryDirectory(prefix="dray-pg-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        cluster = Postgres(directory, durable)
        cluster.initialise()
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
