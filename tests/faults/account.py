"""A hot directory, the agent that sends it to an account behind ssh, and what is known of both without Dray.

What was written is noted in the ledger before it has a name where the agent looks. What the agent says (log, journal)
is compared at once with the bytes under the final name; in the end the oracle compares everything.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.faults import oracle
from tests.faults.ledger import Ledger
from tests.faults.oracle import Evidence
from tests.faults.plan import Plan
from tests.faults.store import Stored, digest, files_below
from tests.faults.witness import Witness, rows
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import Process
from tests.servers.sshd import Sshd, sshd

PATIENCE = 120.0
"""Seconds after which what has not arrived counts as stuck."""

AGED = 20 * 86400
"""Seconds by which leftovers are made older, so that the product sweeps them."""

RESERVED = ".dray"
SETTINGS = """
[hot.lab]
path = "{hot}"
to = "sftp://cluster/{store}"
settle = "300ms"
{hot_more}
[ssh]
config_file = "{config}"
{ssh_more}
"""


class Account:
    """One hot directory with its agent before one account; everybody else finds the destination at ``seen_at``."""

    slow = 0.4
    """Seconds between two writes of somebody who takes longer than files have to rest."""

    def __init__(self, base: Path, chance: random.Random, host: Sshd, store: Path | None = None) -> None:
        self.base, self.chance, self.host = base, chance, host
        self.hot, self.aside = base / "hot", base / "aside"
        self.store = self.seen_at = store or base / "store"
        for folder in (self.hot, self.aside):
            folder.mkdir()
        self.ledger = Ledger(base / "ledger" / "ledger.sqlite")
        self.noted: dict[str, list[str]] = {}
        self.pending: set[str] = set()
        self.unwanted: set[str] = set()
        """Names that may arrive but need not."""
        self.config = base / "config.toml"
        self.env = clean_environment(base, {"DRAY_CONFIG": str(self.config)})
        self.agent = Process([str(DRAY), "start", "--foreground"], base / "agent.log", self.env)
        self.witness = Witness(self)
        self.rounds = self.dropped = 0

    def configure(self, hot: str = "", ssh: str = "") -> None:
        """Write the settings, with lines of one's own."""
        values = {"hot": self.hot, "store": self.store, "config": self.host.config}
        self.config.write_text(SETTINGS.format(hot_more=hot, ssh_more=ssh, **values))

    @property
    def state(self) -> Path:
        """Where the agent keeps its journals."""
        return self.base / ".local" / "state" / "dray"

    # What is written

    def note(self, path: str, data: bytes) -> None:
        """Note a version of a file that will be there; call this before it is."""
        self.note_all({path: data})

    def note_maybe(self, path: str, data: bytes) -> None:
        """Note a file that is there for a moment only, so that it may arrive or not."""
        self.note(path, data)
        self.unwanted.add(path)
        self.pending.discard(path)

    def note_all(self, files: dict[str, bytes]) -> None:
        """Note versions of many files."""
        sums = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        self.ledger.note_all((plain(path), len(data), sums[path]) for path, data in files.items())
        for path, sha256 in sums.items():
            self.noted.setdefault(path, []).append(sha256)
            self.pending.add(path)

    def put_all(self, files: dict[str, bytes]) -> None:
        """Note files and rename them into the directory."""
        self.note_all(files)
        for path, data in files.items():
            self.place(path, data)

    def place(self, path: str, data: bytes) -> Path:
        """Rename a file into the directory that was noted before."""
        part, final = self.aside / "next", self.hot / path
        part.write_bytes(data)
        final.parent.mkdir(parents=True, exist_ok=True)
        part.replace(final)
        return final

    def drop(self, count: int, largest: int = 200_000, old: int = 0) -> None:
        """Rename new files in, one of the largest size and one empty, and ``old`` new versions of earlier ones."""
        self.rounds += 1
        sizes = [largest, 0, *(int(200_000 ** self.chance.random()) for _ in range(count - 2))]
        again = self.chance.sample(sorted(self.noted), min(len(self.noted), old))
        names = [f"r{self.rounds}/d{number % 3}/f{number}" for number in range(count)] + again
        sizes += [self.chance.randrange(200_000) for _ in again]
        self.dropped = sum(sizes)
        self.put_all({name: self.chance.randbytes(size) for name, size in zip(names, sizes, strict=True)})

    # What is there

    def stored(self, path: str) -> str | None:
        """Return the digest of what has a final name now."""
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return digest(self.seen_at / path)[1]
        return None

    def bytes(self) -> int:
        """Return how many bytes are at the destination, under whatever name."""
        total = 0
        for path in files_below(self.seen_at):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def missing(self) -> set[str]:
        """Return the names that do not have their newest version yet."""
        self.pending -= {path for path in self.pending if self.stored(path) == self.noted[path][-1]}
        return self.pending

    def under_way(self) -> bool:
        """Say whether something has not arrived, or has and is not recorded."""
        return bool(self.missing()) or any(row.open for row in rows(self.state))

    def settled(self, seconds: float = PATIENCE) -> float:
        """Wait until all has arrived and is recorded; return how long that took."""
        began = time.monotonic()
        while self.under_way() and time.monotonic() < began + seconds:
            time.sleep(0.1)
        return time.monotonic() - began

    def strange(self) -> list[str]:
        """Return the names there that nobody wrote a file under."""
        return [f"C: {one.key} was never written here" for one in self.final() if unplain(one.key) not in self.noted]

    def final(self) -> list[Stored]:
        """Hash everything under final names."""
        found = [path for path in files_below(self.seen_at) if path.relative_to(self.seen_at).parts[0] != RESERVED]
        return [Stored(plain(path.relative_to(self.seen_at).as_posix()), *digest(path)) for path in found]

    def staged(self) -> list[Path]:
        """Return what is on its way, or was left behind."""
        return list(files_below(self.seen_at / RESERVED))

    # Verdict

    def judge(self) -> list[str]:
        """Wait until all is quiet, let the product sweep, and compare everything."""
        self.settled()
        if not self.agent.running:
            self.witness.findings.append(f"S: the agent ended: {self.agent.tail(600)}")
        self.sweep()
        self.witness.look()
        evidence = Evidence(
            written=self.ledger.versions(),
            stored=self.final(),
            shown=[row.shown for row in rows(self.state)],
            said=[said for said in self.witness.said if said.wrong or said.sha256 == self.noted[unplain(said.key)][-1]],
            staged=[path.name for path in self.staged()],
            wanted=frozenset(plain(path) for path in self.noted if path not in self.unwanted),
        )
        findings = [*map(str, oracle.judge(evidence)), *self.witness.findings, *self.witness.doubles(), *self.strange()]
        self.witness.findings.clear()
        return findings[:20]

    def sweep(self) -> None:
        """Let the product remove what nobody came back for, as if weeks had passed."""
        left = self.staged()
        if not left or not self.agent.running:
            return
        for path in left:
            with suppress(FileNotFoundError):
                then = time.time() - AGED
                os.utime(path, (then, then))
        self.agent.terminate()
        self.agent.start()
        self.put_all({f"after/{self.rounds}": b"%d" % self.rounds})
        self.settled()
        end = time.monotonic() + 10
        while self.staged() and time.monotonic() < end:
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        """Return what ``dray status`` shows of the hot directory."""
        done = subprocess.run([DRAY, "status", "--json"], env=self.env, capture_output=True, text=True, check=False)
        shown: dict[str, Any] = json.loads(done.stdout)["items"][0]
        return shown

    def measure(self, plan: Plan) -> None:
        """Note how much was looked at."""
        plan.add("versions written", sum(map(len, self.noted.values())))
        plan.add("looks at final names", self.witness.looks)
        plan.add("claims of log and journal checked", len(self.witness.said))

    def ready(self) -> None:
        """Wait until the agent is at work."""
        self.put_all({"first": b"first"})
        self.settled()

    def kill_agent(self) -> int:
        """Kill the agent alone; what it started has to notice."""
        self.agent.signal(signal.SIGKILL)
        return self.agent.wait()

    def stop(self) -> None:
        """End everything."""
        self.witness.stop()
        self.agent.kill9()
        self.ledger.close()


def plain(path: str) -> str:
    """Return a name as text that any database takes, also where its bytes are no UTF-8."""
    return os.fsencode(path).decode("latin-1")


def unplain(key: str) -> str:
    """Return the name again."""
    return os.fsdecode(key.encode("latin-1"))


@contextmanager
def account(
    base: Path,
    chance: random.Random,
    hot: str = "",
    ssh: str = "",
    inside: Sequence[str] = (),
    store: Path | None = None,
) -> Iterator[Account]:
    """Lend a hot directory whose agent is not started yet, and the account; both are watched by a witness."""
    with sshd(base / "sshd", inside=inside) as host:
        made = Account(base, chance, host, store)
        made.configure(hot, ssh)
        try:
            yield made
        finally:
            made.stop()
