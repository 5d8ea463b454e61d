"""R5: connections cut at random bytes, links down and half open; what is sent again is counted by the proxy."""

import re
import time
from collections.abc import Sequence

from tests.faults.link import Link, link_to
from tests.faults.plan import Plan, Row
from tests.faults.rig import Rig, rig_in

PART = 1 << 20
SETTINGS = {"DRAY_LIMITS_PART_SIZE": "1MiB"}
CLIENT = {"DRAY_CLIENT_STALL_TIMEOUT": "3s"}
FAULTS = 10
"""Faults while one tree is on its way."""
RESUME = 10.0
"""Seconds after the link is up in which bytes must move."""
TREE = {"slice": (3 << 20, 10), "ci": (40 << 20, 30), "full": (40 << 20, 30)}
KINDS = ("cut", "cut", "cut", "cut", "cut", "cut", "answer", "down", "hole")
LONGEST = {"slice": 1.5, "ci": 4.0, "full": 120.0}


def run(plan: Plan) -> None:
    """Send trees until enough was cut."""
    for number, count in plan.campaigns(FAULTS):
        campaign(plan, number, count)


def campaign(plan: Plan, number: int, faults: int) -> None:
    """Send one tree through a link that is hurt again and again, then judge and count."""
    chance = plan.chance("campaign", number)
    large, small = TREE[plan.mode]
    with plan.room(number) as base, rig_in(base, SETTINGS, CLIENT) as rig:
        rig.writer.write("large.bin", chance.randbytes(large))
        for index in range(small):
            rig.writer.write(f"small/{index}.bin", chance.randbytes(chance.randrange(100_000)))
        rig.server.start()
        rig.watch()
        with link_to(base, rig.server.port) as link:
            Hurting(plan, rig, link, number).through(faults)
        rig.unwatch()
        rig.reap()
        plan.blame(rig.judge())


class Hurting:
    """One tree on its way through a link."""

    def __init__(self, plan: Plan, rig: Rig, link: Link, number: int) -> None:
        self.plan, self.rig, self.link = plan, rig, link
        self.chance = plan.chance("faults", number)
        self.total = sum(version.size for version in rig.ledger.versions())
        self.first = len(plan.tries)
        self.client = rig.upload(link.url)

    def through(self, faults: int) -> None:
        """Order one fault after the other, let the client end, and count what was sent twice."""
        for left in range(faults, 0, -1):
            if not self.hurt(self.chance.choice(KINDS), left):
                break
        self.link.order("clear")
        code = self.rig.ended(self.client)
        if code != 0:
            self.plan.blame([f"S: upload ended with {code}: {self.client.tail(600)}"])
        self.count()

    def hurt(self, kind: str, left: int) -> bool:
        """Do one fault; False when everything had arrived before it fired."""
        passed = self.link.order()["files"]
        after = self.chance.randrange(max(1, (self.total - passed) // left))
        how, everything = self.chance.choice(["rst", "fin"]), self.chance.random() < 0.3
        if kind == "cut":
            self.link.order("cut", way="up", after=after, how=how, all=everything)
        elif kind == "answer":
            self.link.order("cut", way="down", after=self.chance.randrange(3000), how=how, all=everything)
        elif not self.passed(passed + after):
            return False
        elif kind == "down":
            seconds = round(self.chance.uniform(1, LONGEST[self.plan.mode]), 2)
            self.link.order("down", seconds=seconds)
            self.resumed()
        else:
            self.link.order("hole", way=self.chance.choice(["up", "down"]))
        return self.noted(kind)

    def passed(self, files: int) -> bool:
        """Wait until so many file bytes went through; False when the client ended before."""
        while self.client.running:
            if self.link.order()["files"] >= files:
                return True
            time.sleep(0.02)
        return False

    def noted(self, kind: str) -> bool:
        """Wait for the fault to fire and record it with the proxy's own line."""
        known = len(self.plan.tries) - self.first
        while len(fired := self.link.fired) <= known:
            if not self.client.running:
                return False
            time.sleep(0.02)
        if kind == "hole":
            time.sleep(self.chance.uniform(0.5, 5))
            self.link.order("clear")
        self.plan.record(kind, fired[known])
        return True

    def resumed(self) -> None:
        """Measure until bytes move again."""
        begun, before = time.monotonic(), self.link.order()["up"]
        while self.client.running and self.link.order()["up"] == before:
            if time.monotonic() - begun > RESUME:
                self.plan.blame([f"S: nothing moved within {RESUME:g} s after the link was up"])
                return
            time.sleep(0.02)
        self.plan.most("resumed after s, at most", time.monotonic() - begun)

    def count(self) -> None:
        """Compare the file bytes that passed the proxy with the size of the files."""
        stats = self.link.order()
        again, allowed = stats["files"] - self.total, PART * cuts(stats["fired"])
        self.plan.add("bytes sent again", again)
        self.plan.add("bytes allowed to be sent again", allowed)
        if again > allowed:
            self.plan.blame([f"{again} bytes were sent again, at most {allowed} are allowed"])


def cuts(fired: Sequence[str]) -> int:
    """Return how many connections were open when each fault hit, summed up."""
    found = [re.search(r"(?:of|with) (\d+)(?: of \d+)? connections", line) for line in fired]
    return sum(int(match[1]) for match in found if match)


ROW = Row(
    id="R5",
    title="connections cut at random bytes by RST and FIN, links down, half open",
    must="L0 C0 D0; sent again: at most one part per open connection and cut; resumes within 10 s",
    run=run,
    ci=100,
    full=1000,
    slice=2,
)
