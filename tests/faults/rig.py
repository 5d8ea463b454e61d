"""Starts, kills and restarts what is under test: server and clients, each try with directories and ports of its own."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults.gather import shown, stored
from tests.faults.ledger import Ledger, Writer
from tests.faults.oracle import Evidence, Finding, Said, judge
from tests.faults.reaper import reap
from tests.faults.sampler import Journal
from tests.faults.store import Store
from tests.faults.surfaces import Surfaces
from tests.servers.dray import DRAY, DrayServer, clean_environment
from tests.servers.process import Process

DATASET = "run"
PATIENCE = 180.0
"""Seconds after which a client that should have ended counts as stuck."""

STUCK = -9
"""The exit code of a client that had to be killed in the end."""


class Rig:
    """One server with its data, a source tree with its ledger, a sampler, and clients."""

    def __init__(
        self,
        base: Path,
        env: Mapping[str, str] | None = None,
        client_env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        server: DrayServer | None = None,
    ) -> None:
        self.base, self.env = base, dict(env or {})
        self.server = server or DrayServer(base / "server", env=env, prefix=prefix)
        self.client_env = dict(client_env or {})
        self.ledger = Ledger(base / "ledger" / "ledger.sqlite")
        self.source = base / "source"
        self.writer = Writer(self.ledger, self.source, DATASET)
        self.store = Store(self.server.data)
        self.said: list[Said] = []
        self.journal: Journal | None = None
        self.clients: list[Process] = []
        self._surfaces: Surfaces | None = None

    def store_at(self, data: Path) -> None:
        """Look for the data directory at another path than the server does."""
        self.server.data = data
        self.store = Store(data)

    @property
    def surfaces(self) -> Surfaces:
        """Return what the server shows; it must have been started once."""
        if self._surfaces is None:
            self._surfaces = Surfaces(self.server.url, self.server.token)
        return self._surfaces

    def watch(self) -> None:
        """Start the sampler; the server must have been started once."""
        self.journal = Journal(self.base, self.server.url, self.server.data, self.ledger.file)
        self.journal.process.start()

    def unwatch(self) -> None:
        """End the sampler and keep what was said."""
        assert self.journal is not None
        self.said += self.journal.stop()
        self.journal = None

    def client(self, *arguments: str, url: str | None = None) -> Process:
        """Start a ``dray`` command with a home that all clients of this rig share, as one user's would."""
        home = self.base / "home"
        home.mkdir(exist_ok=True)
        env = {"DRAY_URL": url or self.server.url, "DRAY_TOKEN": self.server.token, **self.client_env}
        process = Process(
            [str(DRAY), *arguments], self.base / f"client-{len(self.clients)}.log", clean_environment(home, env)
        )
        process.start()
        self.clients.append(process)
        return process

    def upload(self, url: str | None = None) -> Process:
        """Start an upload of the whole source tree."""
        return self.client("upload", f"{self.source}/", f"{url or self.server.url}/{DATASET}", url=url)

    def watch_once(self, url: str | None = None) -> Process:
        """Start a watch of the source tree that ends when everything is delivered."""
        return self.client("watch", "--once", str(self.source), f"{url or self.server.url}/{DATASET}", url=url)

    def ended(self, client: Process, seconds: float = PATIENCE) -> int:
        """Wait for a client and note what its exit code says about every file; one that hangs is killed."""
        try:
            code = client.wait(seconds)
        except subprocess.TimeoutExpired:
            client.kill9()
            return STUCK
        if code == 0:
            self.note_exit(f"exit 0 of {client.command[1]}")
        return code

    def note_exit(self, surface: str) -> None:
        """Take a success as saying that every newest version in the ledger is there, and look at once."""
        newest = {version.key: version.sha256 for version in self.ledger.versions()}
        at = time.monotonic()
        self.said += [Said(surface, k, s, at, self.store.holds(k, frozenset({s}))) for k, s in newest.items()]

    def safe(self) -> int:
        """Run ``dray safe`` over the tree and note what it says; returns its exit code."""
        client = self.client("safe", "--quiet", "--to", f"{self.server.url}/{DATASET}", f"{self.source}/")
        return self.ended(client)

    def reap(self) -> None:
        """Stop the server, let the product remove leftovers as if two days had passed, start it again."""
        self.server.terminate()
        reap(self.server.data, self.env.get("DRAY_DATABASE_URL_FILE"))
        self.server.start()

    def evidence(self, wanted: frozenset[str]) -> Evidence:
        """Gather everything, from a running server."""
        return stored(shown(self.ledger, self.surfaces, self.said, wanted), self.store)

    def judge(self, wanted: frozenset[str] | None = None) -> list[Finding]:
        """Compare everything; ``wanted`` are all files unless said otherwise."""
        everything = frozenset(version.key for version in self.ledger.versions())
        return judge(self.evidence(everything if wanted is None else wanted))

    def stop(self) -> None:
        """End every process of this rig."""
        for client in self.clients:
            client.kill9()
        if self.journal is not None:
            self.journal.process.kill9()
        self.server.process.kill9()
        self.ledger.close()


@contextmanager
def rig_in(
    base: Path,
    env: Mapping[str, str] | None = None,
    client_env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    server: DrayServer | None = None,
) -> Iterator[Rig]:
    """Lend a rig that is not started yet; ``client_env`` are settings of its clients, ``server`` one of its own."""
    rig = Rig(base, env, client_env, prefix, server)
    try:
        yield rig
    finally:
        rig.stop()
