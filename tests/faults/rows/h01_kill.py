"""H1: the agent of a hot directory, or ssh children that carry its bytes, are killed at random moments."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.faults.account import Account, account
from tests.faults.plan import Plan, Row
from tests.faults.witness import rows
from tests.servers.sshd import descendants

LARGEST = {"slice": 8 << 20, "ci": 64 << 20, "full": 64 << 20}
FILES = 24
GROUP = 10
"""Most kills with one account."""

LEAVING = 'after = "delete"\ngrace = "0s"'
"""In every other group files are deleted here once they are safe there; what goes too early is lost."""

VICTIMS = ("agent", "agent and ssh", "one ssh", "every ssh", "agent")
NORMAL = 30.0
"""Seconds after a kill in which work must go on."""


def run(plan: Plan) -> None:
    """Kill in groups; half of the kills hit work that has not recovered from the one before."""
    for number, kills in plan.campaigns(GROUP):
        chance = plan.chance("campaign", number)
        hot = LEAVING if number % 2 else ""
        with plan.room(number) as base, account(base, chance, hot=hot) as one:
            one.agent.start()
            one.ready()
            one.witness.start()
            for _ in range(kills):
                attempt(plan, one)
                if chance.random() < 0.5:
                    plan.most("all there after s, at most", one.settled())
            plan.blame([*one.judge(), *hidden(one)])
            one.measure(plan)
            plan.add("files deleted here once they were safe there", sum(row.left for row in rows(one.state)))


def hidden(one: Account) -> list[str]:
    """Return what was being taken out of the directory when its agent was killed, and still hides there."""
    left = [path for path in one.hot.rglob(".dray-*") if path.is_file()]
    return [f"O: {path.relative_to(one.hot)} was left hidden" for path in left]


def attempt(plan: Plan, one: Account) -> None:
    """Drop files, kill in the middle, and see that work goes on."""
    large, before = one.chance.random() < 0.4, one.bytes()
    one.drop(FILES, LARGEST[plan.mode] if large else int(LARGEST[plan.mode] ** one.chance.random()), old=4)
    if one.chance.random() < 0.4:
        moment = published(one)
    else:
        moment = reached(one, before + one.chance.random() * one.dropped)
        time.sleep(one.chance.uniform(0, 0.2))
    waiting = len(one.missing())
    victim = one.chance.choice(VICTIMS)
    proof = kill(one, victim)
    if not one.agent.running:
        one.agent.start()
    if proof and waiting:
        plan.record(f"kill {victim} {moment}, {waiting} of {len(one.noted)} files not there yet", proof, moves(one))


def reached(one: Account, nbytes: float) -> str:
    """Wait until so many bytes are there, or all files."""
    end = time.monotonic() + NORMAL
    while one.bytes() < nbytes and one.missing() and time.monotonic() < end:
        time.sleep(0.02)
    return f"at {nbytes:.0f} bytes"


def published(one: Account) -> str:
    """Wait for the very moment in which one of the files gets its name: it is not recorded yet."""
    path = one.seen_at / one.chance.choice(sorted(one.missing()) or ["first"])
    seen, end = stamp(path), time.monotonic() + NORMAL
    while stamp(path) == seen and time.monotonic() < end:
        pass
    time.sleep(one.chance.choice((0, 0, 0.002, 0.01)))
    return "as a file gets its name"


def stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def kill(one: Account, victim: str) -> str | None:
    """Kill and return the proof."""
    if victim == "agent":
        return f"exit {one.kill_agent()}"
    if victim == "agent and ssh":
        one.agent.kill9()
        return f"exit {one.agent.wait()}"
    children = descendants(one.agent.pid)
    chosen = one.chance.sample(children, min(len(children), 1 if victim == "one ssh" else len(children)))
    killed = []
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    return f"{len(killed)} of {len(children)} children" if killed else None


def moves(one: Account) -> list[str]:
    """Wait until something new arrives."""
    before, began = len(one.missing()), time.monotonic()
    size = one.bytes()
    while (left := len(one.missing())) and left == before and one.bytes() == size:
        if time.monotonic() - began > NORMAL:
            return [f"S: nothing moved within {NORMAL:g} s of the kill"]
        time.sleep(0.05)
    return []


ROW = Row(
    id="H1",
    title="hot directory behind ssh: kill -9 of the agent or any of its ssh children, files of 0 B to 64 MiB in flight",
    must="L0 C0 D0 F0 S0 O0; goes on within 30 s",
    run=run,
    ci=100,
    full=1000,
    slice=3,
)
