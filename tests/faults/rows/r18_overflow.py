"""R18: the queue of events runs over, folders are made and renamed under the watch, the watch is killed.

The watch looks through everything on its own account once in an hour only: whatever is found was found by events, or
by the one rescan that a lost event or a start causes.
"""

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from tests.faults.clients import end_watch, start_watch, wait_for_newest
from tests.faults.overheard import LIMIT, Overheard
from tests.faults.plan import Plan, Row
from tests.faults.rig import Rig, rig_in
from tests.servers.process import Process

FILES = {"slice": 300, "ci": 3000, "full": 100_000}
PATIENCE = {"slice": 120.0, "ci": 300.0, "full": 3600.0}
RESCAN = "1h"


def run(plan: Plan) -> None:
    """Make the tries before one server, each with a directory of its own."""
    kinds = list(TRIES)
    with plan.room("all") as base, rig_in(base) as rig:
        rig.server.start()
        for number in range(plan.count):
            name = kinds[(number + plan.seed * (plan.mode == "full")) % len(kinds)]
            hot = Hot(plan, rig, plan.chance("try", number), f"hot{number}")
            proof = TRIES[name](hot)
            hot.findings += end_watch(hot.watch)
            plan.record(name, proof, hot.findings)
        rig.reap()
        wanted = frozenset(v.key for v in rig.ledger.versions() if (base / v.key).is_file())
        plan.blame(rig.judge(wanted))


@dataclass
class Hot:
    """One hot directory and its watch."""

    plan: Plan
    rig: Rig
    chance: Random
    dataset: str
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tree = self.rig.base / self.dataset
        self.files = FILES[self.plan.mode]
        self.names = count()
        for number in range(5):
            (self.tree / f"d{number}").mkdir(parents=True)
        self.watch = self.start()

    def start(self) -> Process:
        return start_watch(self.rig, self.tree, self.dataset, ["--settle", "1s"], RESCAN)

    def create(self, number: int, folders: list[Path] | None = None) -> None:
        """Make many files, noted before."""
        where = folders or [self.tree, *(self.tree / f"d{n}" for n in range(5))]
        made = [where[n % len(where)] / f"f{next(self.names)}" for n in range(number)]
        self.note(made)
        for path in made:
            path.write_bytes(content(path.name))

    def note(self, paths: list[Path]) -> None:
        """Note that files of these names, whose content goes by their last name, are coming."""
        datas = [(path, content(path.name)) for path in paths]
        self.rig.ledger.note_all((self.key(p), len(d), hashlib.sha256(d).hexdigest()) for p, d in datas)

    def key(self, path: Path) -> str:
        return path.relative_to(self.rig.base).as_posix()

    def found(self) -> None:
        """Wait until everything that is there has arrived."""
        there = {path for path in self.tree.rglob("f*") if path.is_file()}
        wanted = frozenset(map(self.key, there))
        took = wait_for_newest(self.rig, wanted, [self.watch], PATIENCE[self.plan.mode])
        self.plan.most("all verified after s, at most", took)
        self.plan.add("files", len(wanted))

    def flood(self) -> str | None:
        """Stop the watch and make more events than the queue holds; return the proof."""
        listener = Overheard([self.tree])
        os.kill(self.watch.pid, signal.SIGSTOP)
        try:
            self.create(self.files // 3)
            self.churn(int(LIMIT.read_text()))
            self.create(self.files - self.files // 3)
            (self.tree / "made meanwhile" / "below").mkdir(parents=True)
            self.create(20, [self.tree / "made meanwhile" / "below"])
            stopped = Path(f"/proc/{self.watch.pid}/stat").read_text().rpartition(")")[2].split()[0]
            events, over = listener.count()
        finally:
            listener.close()
        return f"watch in state {stopped}, {events} events kept, queue ran over" if over and stopped == "T" else None

    def churn(self, events: int) -> None:
        """Make events about two names that nobody wants."""
        for _ in range(events // 2 + 1):
            for name in (".one", ".two"):
                os.close(os.open(self.tree / name, os.O_WRONLY | os.O_CREAT))


def content(name: str) -> bytes:
    return f"this is {name}\n".encode()


def overflow(hot: Hot) -> str | None:
    """More happens than the queue holds while the watch is stopped."""
    proof = hot.flood()
    os.kill(hot.watch.pid, signal.SIGCONT)
    hot.found()
    return proof


def overflow_and_kill(hot: Hot) -> str | None:
    """It is killed before it can hear that something was lost."""
    proof = hot.flood()
    hot.watch.kill9()
    hot.create(50)
    hot.watch = hot.start()
    hot.found()
    return proof and f"{proof}; killed while stopped"


def made_deep(hot: Hot) -> str | None:
    """Several make folders in folders, and files in them at once."""
    per_thread = max(10, min(hot.files // 60, 300))
    before = threading.Barrier(4)
    plans = [[hot.tree / f"t{t}" / f"{n % 7}" / f"{n % 3}" / f"n{n}" for n in range(per_thread)] for t in range(4)]
    hot.note([folder / f"f{depth}" for plan in plans for deepest in plan for depth, folder in levels(hot, deepest)])

    def make(folders: list[Path]) -> None:
        before.wait()
        for deepest in folders:
            for depth, folder in levels(hot, deepest):
                folder.mkdir(exist_ok=True)
                (folder / f"f{depth}").write_bytes(content(f"f{depth}"))

    threads = [threading.Thread(target=make, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running = hot.watch.running
    hot.found()
    return f"{4 * per_thread} deep folders made by 4 threads while the watch ran" if running else None


def levels(hot: Hot, deepest: Path) -> list[tuple[int, Path]]:
    """Return a folder and those above it, the uppermost first."""
    below = deepest.relative_to(hot.tree).parts
    return [(depth, hot.tree.joinpath(*below[: depth + 1])) for depth in range(len(below))]


def renamed_about(hot: Hot) -> str | None:
    """Folders with files in them change their names again and again, and get new files right after."""
    folders = [hot.tree / f"r{n}" for n in range(6)]
    for folder in folders:
        folder.mkdir()
        hot.create(10, [folder])
    turns = max(20, min(hot.files // 30, 400))
    for turn in range(turns):
        index = hot.chance.randrange(len(folders))
        old = folders[index]
        above = hot.chance.choice([hot.tree, *(f for f in folders if f != old and old not in f.parents)])
        new = above / f"m{turn}"
        hot.note([new / path.relative_to(old) for path in old.rglob("f*") if path.is_file()])
        old.rename(new)
        folders = [new / f.relative_to(old) if f == old or old in f.parents else f for f in folders]
        hot.create(2, [new])
    running = hot.watch.running
    hot.found()
    return f"{turns} renames of folders while the watch ran" if running else None


def killed(hot: Hot) -> str | None:
    """It is killed again and again while files appear."""
    kills = 0
    for _ in range(4):
        hot.create(hot.files // 8)
        hot.watch.kill9()
        kills += hot.watch.child is not None and hot.watch.child.returncode == -signal.SIGKILL
        hot.create(hot.files // 8)
        hot.watch = hot.start()
    hot.found()
    return f"killed {kills} times by signal 9" if kills == 4 else None


TRIES: dict[str, Callable[[Hot], str | None]] = {
    "overflow while stopped": overflow,
    "folders made deep": made_deep,
    "overflow, then kill -9": overflow_and_kill,
    "folders renamed about": renamed_about,
    "kill -9 while files appear": killed,
}

ROW = Row(
    id="R18",
    title="inotify overflow while stopped, folders made and renamed under the watch, kill -9; a rescan once an hour",
    must="100 % found in at most one rescan; L0 C0 D0 S0 O0",
    run=run,
    ci=5,
    full=50,
    slice=1,
)
