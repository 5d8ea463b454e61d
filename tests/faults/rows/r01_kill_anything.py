"""R1: kill -9 of client, server and worker at random moments, with files from 1 byte to 64 MB on their way."""

import time
from collections.abc import Iterator
from random import Random

from tests.faults.plan import Plan, Row
from tests.faults.rig import Rig, rig_in
from tests.servers.process import Process

SETTINGS = {"DRAY_LIMITS_PART_SIZE": "2MiB"}
FILES = {"slice": 24, "ci": 200, "full": 200}
LARGEST = {"slice": 4 << 20, "ci": 64 << 20, "full": 64 << 20}
KILLS = 10
"""Most kills while one tree is on its way."""
NORMAL = 30.0
"""Seconds after a restart in which work must go on."""
VICTIMS = ("client", "server", "server", "client", "both")


def run(plan: Plan) -> None:
    """Send trees until enough was killed."""
    number = 0
    while len(plan.tries) < plan.count:
        campaign(plan, number, min(KILLS, plan.count - len(plan.tries)))
        number += 1


def sizes(chance: Random, count: int, largest: int) -> Iterator[int]:
    """Yield sizes: most small, some of a few MB, a few large, one the largest, one empty."""
    yield from (largest, 0, 1)
    for number in range(count - 3):
        top = largest if number % 80 == 0 else largest // 6 if number % 14 == 0 else 200_000
        yield int(top ** chance.random())


def campaign(plan: Plan, number: int, kills: int) -> None:
    """Send one tree, with up to ``kills`` kills on the way, then judge."""
    chance = plan.chance("campaign", number)
    with plan.room(number) as base, rig_in(base, SETTINGS) as rig:
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
            self.kill(self.chance.choice(VICTIMS), total)
        code = self.rig.ended(self.client)
        if code != 0:
            self.plan.blame([f"S: {self.command} ended with {code}: {self.client.tail(600)}"])

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
        proofs = []
        if victim in ("client", "both"):
            self.client.kill9()
            proofs.append(self.killed("client", self.client))
        if victim in ("server", "both"):
            self.rig.server.kill9()
            proofs.append(self.killed("server", self.rig.server.process))
        if not all(proofs):
            return  # the client had ended just before: nothing was in flight, so nothing was tried
        what = f"{self.command}: kill {victim} at {there / total:.0%} of {total} bytes"
        self.plan.record(what, ", ".join(proofs))
        self.again(victim)

    def killed(self, name: str, process: Process) -> str:
        assert process.child is not None
        code = process.child.returncode
        return f"{name} pid {process.child.pid} exit {code}" if code == -9 else ""

    def again(self, victim: str) -> None:
        """Start what was killed and measure until new bytes (or the end) show that all is normal."""
        begun = time.monotonic()
        if victim in ("server", "both"):
            self.rig.server.start()
        if victim in ("client", "both"):
            self.client = self.send()
        before = self.rig.store.changes()
        while self.client.running and self.rig.store.changes() == before:
            if time.monotonic() - begun > NORMAL:
                self.plan.blame([f"S: nothing moved within {NORMAL:g} s of the restart"])
                return
            time.sleep(0.02)
        self.plan.most("normal again after s, at most", time.monotonic() - begun)


ROW = Row(
    id="R1",
    title="kill -9 of client, server and worker at random moments, files of 0 B to 64 MB in flight",
    must="L0 C0 D0 F0 S0 O0; normal again within 30 s of the restart",
    run=run,
    ci=100,
    full=1000,
    slice=2,
)
