"""R1: kill -9 of client, server and worker at random moments, with files from 1 byte to 64 MB on their way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.faults.plan import Plan, Row
from tests.faults.rig import Rig, rig_in
from tests.faults.split import Split, split_server
from tests.servers.process import Process

SETTINGS = {"DRAY_LIMITS_PART_SIZE": "2MiB"}
FILES = {"slice": 24, "ci": 200, "full": 200}
LARGEST = {"slice": 4 << 20, "ci": 64 << 20, "full": 64 << 20}
KILLS = 10
"""Most kills while one tree is on its way."""
NORMAL = 30.0
"""Seconds after a restart in which work must go on."""
TOGETHER = ("client", "server", "server", "client", "both")
APART = ("client", "server", "worker", "worker", "both")
SPLIT = 4
"""Every so many trees go to API and worker in processes of their own, on PostgreSQL."""


def run(plan: Plan) -> None:
    """Send trees until enough was killed."""
    for number, count in plan.campaigns(KILLS):
        campaign(plan, number, count)


def sizes(chance: Random, count: int, largest: int) -> Iterator[int]:
    """Yield sizes: most small, some of a few MB, a few large, one the largest, one empty."""
    yield from (largest, 0, 1)
    for number in range(count - 3):
        top = largest if number % 80 == 0 else largest // 6 if number % 14 == 0 else 200_000
        yield int(top ** chance.random())


def campaign(plan: Plan, number: int, kills: int) -> None:
    """Send one tree, with up to ``kills`` kills on the way, then judge."""
    chance = plan.chance("campaign", number)
    with plan.room(number) as base, some_rig(base, apart=number % SPLIT == 1) as rig:
        total = 0
        for index, size in enumerate(sizes(chance, FILES[plan.mode], LARGEST[plan.mode])):
            rig.writer.write(f"d{index % 7}/file {index:03}.bin", chance.randbytes(size))
            total += size
        rig.server.start()
        rig.watch()
        command = chance.choice(["upload", "upload", "watch"])
        moments = sorted(chance.uniform(0, total) for _ in range(kills))
        Killing(plan, rig, chance, command).through(moments, total)
        rig.unwatch()
        rig.reap()
        plan.blame(rig.judge())


@contextmanager
def some_rig(base: Path, apart: bool) -> Iterator[Rig]:
    """Lend a rig with one server process, or with API and worker apart."""
    if not apart:
        with rig_in(base, SETTINGS) as rig:
            yield rig
    else:
        with split_server(base, SETTINGS) as (split, settings), rig_in(base, settings, server=split) as rig:
            yield rig


class Killing:
    """One tree on its way."""

    def __init__(self, plan: Plan, rig: Rig, chance: Random, command: str) -> None:
        self.plan, self.rig, self.chance, self.command = plan, rig, chance, command
        self.client = self.send()

    def send(self) -> Process:
        """Start the client; running it again is all a user has to do."""
        return self.rig.upload() if self.command == "upload" else self.rig.watch_once()

    def through(self, moments: list[float], total: int) -> None:
        """Kill when so many bytes are there, as long as something is on its way; then let it end."""
        for moment in moments:
            if not self.reached(moment):
                break
            time.sleep(self.chance.uniform(0, 0.5))
            if not self.client.running:
                break
            self.kill(self.chance.choice(APART if isinstance(self.rig.server, Split) else TOGETHER), total)
        self.rig.safe()  # whatever it answers in the middle, if it says yes it has to be true
        code = self.rig.ended(self.client)
        if code != 0:
            self.plan.blame([f"S: {self.command} ended with {code}: {self.client.tail(600)}"])
        elif (code := self.rig.safe()) != 0:
            self.plan.blame([f"S: dray safe ended with {code} when all was sent: {self.rig.clients[-1].tail(600)}"])

    def reached(self, moment: float) -> bool:
        """Wait until so many bytes lie in the data directory; False when the client ended before."""
        while self.client.running:
            if self.rig.store.bytes() > moment:
                return True
            time.sleep(0.02)
        return False

    def kill(self, victim: str, total: int) -> None:
        """Kill, start again, and see that work goes on."""
        there = self.rig.store.bytes()
        victims = self.processes(victim)
        for process in victims.values():
            process.kill9()
        proofs = [killed(name, process) for name, process in victims.items()]
        if all(proofs):  # else the client had ended just before: nothing was in flight, so nothing was tried
            self.plan.record(
                f"{self.command}: kill {victim} at {there / total:.0%} of {total} bytes", ", ".join(proofs)
            )
        self.again(victim)

    def processes(self, victim: str) -> dict[str, Process]:
        """Return what is to be killed, by name."""
        server = self.rig.server
        everything = {"client": self.client, "server": server.process}
        if isinstance(server, Split):
            everything["worker"] = server.worker
        return everything if victim == "both" else {victim: everything[victim]}

    def again(self, victim: str) -> None:
        """Start what was killed and measure until new bytes (or the end) show that all is normal."""
        if victim != "client":
            self.rig.server.start()
        begun = time.monotonic()
        if not self.client.running:
            self.client = self.send()
        before = self.rig.store.changes()
        while self.client.running and self.rig.store.changes() == before:
            if time.monotonic() - begun > NORMAL:
                self.plan.blame([f"S: nothing moved within {NORMAL:g} s of the restart"])
                return
            time.sleep(0.02)
        self.plan.most("normal again after s, at most", time.monotonic() - begun)


def killed(name: str, process: Process) -> str:
    """Return the proof that a process was killed, nothing when it had ended by itself."""
    assert process.child is not None
    code = process.child.returncode
    return f"{name} pid {process.child.pid} exit {code}" if code == -9 else ""


ROW = Row(
    id="R1",
    title="kill -9 of client, server and worker at random moments, files of 0 B to 64 MB in flight",
    must="L0 C0 D0 F0 S0 O0; normal again within 30 s of the restart",
    run=run,
    ci=100,
    full=1000,
    slice=2,
)
