"""R16: source files that are changed between two reads of them; strace slows the reads down and is the proof."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.clients import start_client
from tests.faults.mutate import CHANGES, Change, Mapping, aside_of
from tests.faults.oracle import Finding
from tests.faults.plan import Plan, Row
from tests.faults.rig import Rig, rig_in
from tests.servers.process import Process, find_command

FILES = 10
"""Files that are changed during one run of a client."""
MIB = 1 << 20
SIZES = (2 * MIB, 5 * MIB)
LARGE = 33 * MIB
"""More than one piece of a client: read part by part while it is sent."""
DELAY = 100_000
"""Microseconds before each read."""
READS = "preadv,preadv2"
SECOND_RUN = 120.0


def run(plan: Plan) -> None:
    """Change files in campaigns of one client run each, by turns those that end and those that try again."""
    number = 0
    while len(plan.tries) < plan.count:
        campaign(plan, number, min(FILES, plan.count - len(plan.tries)))
        number += 1


def campaign(plan: Plan, number: int, files: int) -> None:
    """Send a tree whose files change on the way, send it again in peace, and judge after both."""
    chance = plan.chance("campaign", number)
    command = ("upload", "watch")[number % 2]
    with plan.room(number) as base, rig_in(base) as rig:
        rig.server.start()
        rig.watch()
        kinds = [CHANGES[(plan.seed + len(plan.tries) + index) % len(CHANGES)] for index in range(files)]
        victims = [Victim(rig, chance, kind, size_of(plan, chance, n)) for n, kind in enumerate(kinds)]
        if chance.random() < 0.3:
            rig.ended(rig.upload())
        client = Reading(rig, command, [victim.path for victim in victims])
        mapping = mapped_file(rig, chance)
        client.start()
        disturb(client, victims)
        code = client.process.wait(SECOND_RUN)
        plan.add(f"{command} ended with {code}", 1)
        mapping.end()
        early = [str(one) for one in rig.judge(frozenset()) if one.letter in "LCDF"]
        findings = early + [str(one) for one in after_second_run(rig)]
        for victim in victims:
            mine = [text for text in findings if victim.path.name in text]
            proof = victim.proof(client)
            if proof or mine:
                plan.record(f"{command}: {victim.change.name}", proof, mine)
            else:
                plan.add("changed too late to be read again, not counted", 1)
        plan.blame([text for text in findings if not any(victim.path.name in text for victim in victims)])
        plan.add("writes through an old mapping", mapping.writes)


def size_of(plan: Plan, chance: Random, index: int) -> int:
    return LARGE if plan.mode != "slice" and index == 0 else chance.randrange(*SIZES)


def after_second_run(rig: Rig) -> list[Finding]:
    """Send what is there now, which must succeed, and judge everything."""
    again = rig.upload()
    code = rig.ended(again)
    told = [] if code == 0 else [Finding("S", f"the second run ended with {code}: {again.tail(400)}")]
    rig.unwatch()
    rig.reap()
    return told + rig.judge()


class Victim:
    """A file that is changed after so many reads."""

    def __init__(self, rig: Rig, chance: Random, kind: Callable[[bytes, Random], Change], size: int) -> None:
        old = chance.randbytes(size)
        self.rig, self.path = rig, rig.writer.write(f"{kind.__name__} {size}.dat", old)
        self.change = kind(old, chance)
        self.after = chance.randrange(1, max(2, size // MIB))
        self.seen: int | None = None

    def strike(self, reads: int) -> None:
        """Note the contents that are to come, then change the file."""
        key = self.rig.writer.key(self.path.name)
        states = [(key, len(data), hashlib.sha256(data).hexdigest()) for data in self.change.states]
        self.rig.ledger.note_all(states)
        self.change.act(self.path)
        self.seen = reads

    def reads(self, counts: Counter[str]) -> int:
        """Return how often it was read, also where it lies now when it was exchanged."""
        return counts[str(self.path)] + counts[str(aside_of(self.path))]

    def proof(self, client: "Reading") -> str | None:
        """Say how often it was read before and after; the next read is on its way when it changes."""
        later = self.reads(client.reads()) - (self.seen or 0)
        return f"changed after {self.seen} reads, {later} more followed" if self.seen and later > 0 else None


def mapped_file(rig: Rig, chance: Random) -> Mapping:
    """Make a file that is written all the time through a mapping; no mix of its states may ever be taken."""
    states = [chance.randbytes(MIB) for _ in range(3)]
    path = rig.writer.write("mapped.dat", states[0])
    key = rig.writer.key("mapped.dat")
    rig.ledger.note_all((key, MIB, hashlib.sha256(data).hexdigest()) for data in states)
    return Mapping(path, states)


@dataclass
class Reading:
    """A client whose reads of some files are slow and written down."""

    rig: Rig
    command: str
    paths: list[Path]

    def start(self) -> None:
        """Start it under strace."""
        self.trace = self.rig.base / "reads"
        self._read_to, self._counts = 0, Counter[str]()
        self.process: Process = start_client(self.rig, self.words(), prefix=self.prefix())

    def words(self) -> list[str]:
        tree, url = f"{self.rig.source}/", f"{self.rig.server.url}/run"
        return ["upload", tree, url] if self.command == "upload" else ["watch", "--once", "--settle", "1s", tree, url]

    def prefix(self) -> list[str]:
        strace = find_command("strace", "strace")
        options = ["-f", "--seccomp-bpf", "-y", "-s", "0", "-o", str(self.trace)]
        watched = [word for path in self.paths for one in (path, aside_of(path)) for word in ("-P", str(one))]
        return [strace, *options, *watched, "-e", f"trace={READS}", "-e", f"inject={READS}:delay_enter={DELAY}"]

    def reads(self) -> Counter[str]:
        """Return how often each file was read so far."""
        if self.trace.exists():
            with self.trace.open(errors="replace") as file:
                file.seek(self._read_to)
                text = file.read()
                whole = text.rpartition("\n")[0]
                self._read_to += len(whole.encode(errors="replace")) + bool(whole)
            self._counts.update(line.partition("<")[2].partition(">")[0] for line in whole.splitlines() if "<" in line)
        return self._counts


def disturb(client: Reading, victims: list[Victim]) -> None:
    """Change each file once it was read as often as wanted, until the client ends."""
    while client.process.running:
        reads = client.reads()
        for victim in victims:
            if victim.seen is None and victim.reads(reads) >= victim.after:
                victim.strike(victim.reads(reads))
        time.sleep(0.01)


ROW = Row(
    id="R16",
    title="source appended, truncated, replaced, patched with times restored, mapped, between two reads of it",
    must="never VERIFIED with mixed content; retried as a new version; L0 C0 D0 F0 S0 O0",
    run=run,
    ci=200,
    full=2000,
    slice=4,
)
