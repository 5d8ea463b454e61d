"""R2, clients: ``dray watch`` is killed at every commit of its journal, ``dray download`` at each step of a file."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults.gather import about, shown, stored
from tests.faults.ledger import Ledger, Writer
from tests.faults.nursery import Fork, Nursery, fork_of
from tests.faults.oracle import judge
from tests.faults.plan import Plan, Try
from tests.faults.points import CALLS, Point, killed_in, points, thinned
from tests.faults.rig import Rig
from tests.faults.store import digest, files_below
from tests.faults.surfaces import Surfaces

CLEAN = 4
"""Runs in which nothing is killed: threads and commits share the work otherwise each time."""
PARTS = 3
PART = 64 << 10
SETTINGS = {"DRAY_LIMITS_PART_SIZE": "64KiB"}
JOURNAL = re.compile(r"[0-9a-f]{24}(?=\.(?:sqlite|lock))")
FETCHED = re.compile(r"[0-9a-f]{32}\.staged$")
OTHERS = ("dray.log", "/.cache/")
"""Files that promise nothing."""
PATIENCE = 90.0


class Work(NamedTuple):
    """What one client has to do, in a place of its own."""

    fork: Fork
    ledger: Ledger
    surfaces: Surfaces
    writer: Writer
    got: Path

    def actual(self, point: Point) -> Point:
        """Return a point with the name that the journal of this place has."""
        names = [path.name for path in files_below(self.fork.base / "home")]
        found = [match[0] for name in names if (match := JOURNAL.match(name))]
        name = found[0] if found else ""
        path = point.path and point.path.replace("JOURNAL", name)
        return point._replace(path=path, about=point.about.replace("JOURNAL", name))

    def keys(self) -> dict[str, str]:
        """Return what was written for this client, by key."""
        begin = f"{self.writer.dataset}/"
        return {version.key: version.sha256 for version in self.ledger.versions() if version.key.startswith(begin)}


class Clients:
    """The clients of one server; ``command`` is ``watch`` or ``download``."""

    def __init__(self, rig: Rig, command: str) -> None:
        self.rig, self.command = rig, command

    @contextmanager
    def work(self, plan: Plan, found: Nursery, base: Path, dataset: str) -> Iterator[Work]:
        """Lend a client before its work: a journal that exists, or a dataset that can be fetched."""
        ledger = Ledger(self.rig.ledger.file)
        surfaces = Surfaces(self.rig.server.url, self.rig.server.token)
        writer = Writer(ledger, base / "source", dataset)
        url = f"{self.rig.server.url}/{dataset}"
        env = {"DRAY_URL": self.rig.server.url, "DRAY_TOKEN": self.rig.server.token}
        upload = ["watch", "--once", str(writer.tree), url]
        argv = upload if self.command == "watch" else ["download", url, str(base / "got")]
        writer.write("first.bin", b"first")
        with ledger, fork_of(found, base, upload, env) as fork:
            if self.command == "download":
                self.fill(plan, writer)
            self.finish(fork)
            if self.command == "watch":
                self.fill(plan, writer)
            fork.argv = argv
            yield Work(fork, ledger, surfaces, writer, base / "got")

    def fill(self, plan: Plan, writer: Writer) -> None:
        chance = plan.chance("client")
        for number in range(5):
            writer.write(f"d{number % 2}/{number}.bin", chance.randbytes(1000 + number))
        writer.write("large.bin", chance.randbytes(PARTS * PART - 9))

    def finish(self, fork: Fork) -> int:
        """Run the client to its end."""
        fork.begin()
        return fork.wait(PATIENCE)

    def points(self, plan: Plan, found: Nursery) -> list[Point]:
        """Return the points that all clean runs have in common, since clients do several things at once."""
        return common(plan, lambda number: self.traced(plan, found, number))

    def traced(self, plan: Plan, found: Nursery, number: int) -> list[Point]:
        """Trace a client that nobody kills."""
        name = f"{self.command}-clean-{number}"
        with plan.room(name) as base, self.work(plan, found, base, name) as work:
            with work.fork.traced_from_start(["-e", f"trace={','.join(CALLS)}"], base / "trace"):
                assert work.fork.wait(PATIENCE) == 0, work.fork.log.read_text()
            trace = JOURNAL.sub("JOURNAL", (base / "trace").read_text())
            seen = points(trace, base, None, random=FETCHED)
            for log in {p.path for p in seen if p.path and p.path.endswith("-wal")}:
                seen = thinned(seen, log)
            return [p._replace(thread=self.command) for p in seen if not any(other in p.about for other in OTHERS)]

    def hit(self, plan: Plan, found: Nursery, point: Point, base: Path) -> Try:
        """Kill a client at a point, run it again, and judge."""
        with self.work(plan, found, base, dataset_of(self.command, base)) as work:
            aim = work.actual(point)
            with work.fork.traced_from_start(aim.options(base, "signal=KILL"), base / "trace"):
                code = work.fork.wait(PATIENCE)
            proof = killed_in(aim, code, base / "trace")
            findings = self.compare(work, whole=False)
            code = self.finish(work.fork)
            findings += (
                [] if code == 0 else [f"S: {self.command} ended with {code}: {work.fork.log.read_text()[-500:]}"]
            )
            return Try(str(point), proof, tuple(findings + self.compare(work, whole=True) + self.judge(work)))

    def judge(self, work: Work) -> list[str]:
        """Compare what concerns the dataset of one client."""
        evidence = about(
            stored(shown(work.ledger, work.surfaces, [], work.keys()), self.rig.store), work.writer.dataset
        )
        return [str(finding) for finding in judge(evidence)]

    def compare(self, work: Work, whole: bool) -> list[str]:
        """Compare what was fetched with the ledger: never half a file, in the end all of them and nothing else."""
        if self.command != "download":
            return []
        mine = {key.partition("/")[2]: sha256 for key, sha256 in work.keys().items()}
        got = {path.relative_to(work.got).as_posix(): path for path in files_below(work.got)}
        final = {name: path for name, path in got.items() if not name.startswith(".dray/")}
        wrong = [
            f"C: {name} was fetched with other bytes"
            for name, path in final.items()
            if digest(path)[1] != mine.get(name)
        ]
        if whole:
            wrong += [f"S: {name} was not fetched" for name in mine.keys() - final.keys()]
            wrong += [f"O: {name} is left" for name in got.keys() - final.keys() if not name.endswith("lock")]
        return wrong


def common(plan: Plan, trace: Callable[[int], list[Point]]) -> list[Point]:
    """Return the points that several clean runs have in common; in a slice those of one."""
    found = {(p.thread, p.call, p.path, p.n): p for p in trace(1)}
    for number in range(2, 2 if plan.mode == "slice" else CLEAN + 1):
        again = {(p.thread, p.call, p.path, p.n) for p in trace(number)}
        found = {key: point for key, point in found.items() if key in again}
    return list(found.values())


def dataset_of(command: str, base: Path) -> str:
    """Return a dataset that no other try has."""
    return re.sub(r"[^\w.-]", "-", "-".join((command, *base.parts[-2:])))
