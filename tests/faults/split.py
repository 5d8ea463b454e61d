"""API and worker in processes of their own on a PostgreSQL that survives kills: what ``dray up`` is not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.dray import DRAY, DrayServer, clean_environment
from tests.servers.postgres import postgres_cluster
from tests.servers.process import Process


class Split(DrayServer):
    """``dray serve`` with a ``dray worker`` beside it, on one database."""

    def __init__(self, base: Path, env: Mapping[str, str]) -> None:
        super().__init__(base, env=env, command="serve")
        command = [str(DRAY), "worker", "--data", str(self.data)]
        self.worker = Process(command, base / "worker.log", clean_environment(self.home, env))

    def start(self, seconds: float = 60) -> None:
        """Start what does not run of the two."""
        if not self.process.running:
            super().start(seconds)
        if not self.worker.running:
            self.worker.start()

    def terminate(self, seconds: float = 30) -> int:
        """End both in order."""
        self.worker.terminate(seconds)
        return super().terminate(seconds)

    def kill_all(self) -> None:
        """Kill both."""
        self.worker.kill9()
        self.process.kill9()


@contextmanager
def split_server(base: Path, env: Mapping[str, str]) -> Iterator[tuple[Split, dict[str, str]]]:
    """Lend a split server that is not started yet, and the settings that name its database."""
    with postgres_cluster(durable=True) as cluster, cluster.fresh_database() as url:
        settings = {**env, "DRAY_DATABASE_URL_FILE": str(base / "database.url")}
        (base / "database.url").write_text(url)
        (base / "database.url").chmod(0o600)
        split = Split(base / "server", settings)
        try:
            yield split, settings
        finally:
            split.kill_all()
