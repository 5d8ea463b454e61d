"""R21: a hot directory before an account behind ssh: agent, ssh and sshd die, stand still and come back.

The agent is begun again at once, as a service manager does it. Files are renamed in, some over delivered ones, some are
large. While it runs, what has a final name is read again and again: nobody may ever see half a file.
"""

import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.plan import Plan, Row
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import Process
from tests.servers.sshd import Sshd, descendants

FILES = 40
LARGE = 40 << 20
PATIENCE = 90.0
"""Seconds after which what has not arrived counts as stuck."""

OUTAGE = 3.0
SETTINGS = """
[hot.lab]
path = "{hot}"
to = "sftp://cluster/{store}"
settle = "300ms"

[ssh]
config_file = "{config}"
"""


def run(plan: Plan) -> None:
    """Make the tries in groups, each with an account and an agent of its own."""
    kinds = list(TRIES)
    for number, tries in plan.campaigns(10):
        with plan.room(number) as base, lab(base, plan.chance("campaign", number)) as made:
            for _ in range(tries):
                kind = kinds[len(plan.tries) % len(kinds)]
                made.findings.clear()
                proof = TRIES[kind](made)
                plan.most("back after s, at most", made.settled())
                plan.record(kind, proof, made.findings)
            plan.add("files", len(made.noted))
            plan.add("looks at final names", made.looks)


@dataclass
class Lab:
    """A hot directory, its agent, the account, and what was dropped."""

    base: Path
    sshd: Sshd
    chance: random.Random
    noted: dict[str, list[str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    looks: int = 0
    rounds: int = 0
    agent: Process = field(init=False)

    def __post_init__(self) -> None:
        self.hot, self.store = self.base / "hot", self.base / "store"
        self.hot.mkdir()
        config = self.base / "config.toml"
        config.write_text(SETTINGS.format(hot=self.hot, store=self.store, config=self.sshd.config))
        env = clean_environment(self.base, {"DRAY_CONFIG": str(config)})
        self.agent = Process([str(DRAY), "start", "--foreground"], self.base / "agent.log", env)

    def drop(self, count: int = FILES, large: bool = False) -> None:
        """Rename new files in, and new versions of old ones."""
        self.rounds += 1
        old = self.chance.sample(sorted(self.noted), min(len(self.noted), count // 4))
        new = [f"r{self.rounds}/d{number % 3}/f{number}" for number in range(count)]
        for path in [*new, *old]:
            self.put(path, self.chance.randbytes(self.chance.choice((10, 3000, 200_000))))
        if large:
            self.put(f"r{self.rounds}/large", self.chance.randbytes(LARGE))

    def put(self, path: str, data: bytes) -> None:
        self.noted.setdefault(path, []).append(hashlib.sha256(data).hexdigest())
        target = self.hot / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(data)
        part.rename(target)

    def soon(self, most: float = 0.6) -> None:
        """Let a random moment pass in which things are under way."""
        time.sleep(self.chance.uniform(0, most))

    def stored(self, path: str) -> str | None:
        try:
            return hashlib.sha256((self.store / path).read_bytes()).hexdigest()
        except FileNotFoundError:
            return None

    def settled(self) -> float:
        """Wait until the newest version of everything is there; return how long that took, and note what is wrong."""
        began = time.monotonic()
        while (missing := self.missing()) and time.monotonic() < began + PATIENCE:
            time.sleep(0.1)
        self.findings += [f"S {path} is not delivered" for path in missing[:10]]
        self.findings += [f"C {path} holds what was never written" for path in self.strange()]
        if not self.agent.running:
            self.findings.append("S the agent ended")
        return time.monotonic() - began

    def missing(self) -> list[str]:
        return [path for path, versions in self.noted.items() if self.stored(path) != versions[-1]]

    def strange(self) -> list[str]:
        """Return final names that hold nothing that was ever written there."""
        found = (p.relative_to(self.store).as_posix() for p in self.store.rglob("*") if p.is_file())
        return [path for path in found if not path.startswith(".dray/") and self.odd(path)]

    def odd(self, path: str) -> bool:
        self.looks += 1
        digest = self.stored(path)
        return digest is not None and digest not in self.noted.get(path, [])

    def stare(self, ended: threading.Event) -> None:
        """Read final names until told to end."""
        while not ended.wait(0.05):
            for path in list(self.noted)[-30:]:
                if self.odd(path):
                    self.findings.append(f"C {path} held half a file, or another one")


def kill_agent(lab: Lab) -> str | None:
    """The agent is killed while files come, and begun again."""
    lab.drop(large=lab.rounds % 3 == 0)
    lab.soon()
    lab.agent.kill9()
    code = lab.agent.wait()
    lab.drop(FILES // 4)
    lab.agent.start()
    return f"exit {code}" if code == -signal.SIGKILL else None


def kill_ssh(lab: Lab) -> str | None:
    """One of the children that carry bytes is killed."""
    lab.drop(large=lab.rounds % 3 == 0)
    lab.soon()
    end = time.monotonic() + 5
    while not (children := descendants(lab.agent.pid)) and time.monotonic() < end:
        time.sleep(0.02)
    if not children:
        return None
    child = lab.chance.choice(children)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
        return f"process {child} of {len(children)}"
    return None


def stop_agent(lab: Lab) -> str | None:
    """The agent is stopped within a second of a drop of many files, and begun again."""
    lab.drop(8 * FILES)
    lab.soon(1.0)
    lab.agent.signal(signal.SIGTERM)
    code = lab.agent.wait()
    missing = len(lab.missing())
    lab.agent.start()
    return f"exit {code}, {missing} files not there yet" if code == 0 else None


def stop_sshd(lab: Lab) -> str | None:
    """The server goes away with all its connections while files come, and comes back."""
    lab.drop(large=lab.rounds % 3 == 0)
    lab.soon()
    sessions = len(lab.sshd.sessions())
    lab.sshd.stop()
    lab.drop(FILES // 4)
    time.sleep(OUTAGE)
    lab.sshd.start()
    return f"{sessions} processes of the server ended, back after {OUTAGE:.0f} s"


def freeze_sshd(lab: Lab) -> str | None:
    """The server stands still with open connections, then goes on."""
    lab.drop()
    lab.soon(0.3)
    frozen = len(lab.sshd.sessions())
    lab.sshd.freeze()
    lab.drop(FILES // 4)
    time.sleep(OUTAGE)
    lab.sshd.freeze(thaw=True)
    return f"{frozen} processes stood still" if frozen else None


TRIES: dict[str, Callable[[Lab], str | None]] = {
    "agent killed": kill_agent,
    "ssh killed": kill_ssh,
    "agent stopped": stop_agent,
    "sshd away": stop_sshd,
    "sshd frozen": freeze_sshd,
}


@contextmanager
def lab(base: Path, chance: random.Random) -> Iterator[Lab]:
    """Lend a running agent before an account, with somebody who stares at its files."""
    sshd = Sshd(base / "sshd")
    sshd.start()
    made, ended = Lab(base, sshd, chance), threading.Event()
    staring = threading.Thread(target=made.stare, args=(ended,))
    try:
        made.agent.start()
        made.put("first", b"first")
        made.settled()
        staring.start()
        yield made
    finally:
        ended.set()
        if staring.ident is not None:
            staring.join()
        made.agent.kill9()
        sshd.stop()


ROW = Row(
    "R21",
    "hot directory behind ssh: agent or ssh killed, agent stopped amid a drop, sshd away or standing still",
    "nothing lost, nothing stuck, never half a file under a final name",
    run,
    100,
    1000,
    5,
)
