"""H2: the account behind ssh is away, cut off, stands still, half open, or full, and comes back; nobody helps."""

import time
from collections.abc import Callable
from typing import Any

from tests.faults.account import Account, account
from tests.faults.plan import Plan, Row
from tests.faults.small_disk import SmallDisk, small_disk

OUTAGE = {"slice": 2.0, "ci": 20.0, "full": 20.0}
SHORT = 6.0
"""The longest of those in which the server itself is there."""

DISK = 400 << 20
LARGE = 16 << 20
FILES = 30
GROUP = 5
PATIENCE = 90.0
"""Seconds after the end of an outage in which everything has to be there."""

EAGER = "\n  ServerAliveInterval 1\n  ServerAliveCountMax 3\n"
"""How a user's own configuration may ask for signs of life; without, three are missed in 45 s."""


def run(plan: Plan) -> None:
    """Make the outages one after another, some with an account and a disk of their own."""
    kinds = list(TRIES)
    for number, tries in plan.campaigns(GROUP):
        chance = plan.chance("campaign", number)
        with (
            plan.room(number) as base,
            small_disk(base / "disk", DISK) as disk,
            account(base, chance, inside=disk.prefix, store=disk.inside / "store") as one,
        ):
            one.seen_at = disk.outside / "store"
            if plan.mode == "slice" or number % 2:
                one.host.config.write_text(one.host.config.read_text() + EAGER)
            one.agent.start()
            one.ready()
            one.witness.start()
            for _ in range(tries):
                attempt(plan, one, disk, kinds[len(plan.tries) % len(kinds)])
            plan.blame(one.judge())
            one.measure(plan)


def attempt(plan: Plan, one: Account, disk: SmallDisk, kind: str) -> None:
    """Make one outage while files come, and see that all is there afterwards."""
    proof = TRIES[kind](plan, one, disk)
    took = one.settled(PATIENCE)
    late = [f"S: {len(one.missing())} files are not there {took:.0f} s after the end"] if one.under_way() else []
    plan.most(f"{kind}: all there after s, at most", took)
    plan.record(kind, proof, late + told(one))
    one.host.freeze(thaw=True)


def told(one: Account) -> list[str]:
    """See that the status says that all is well again."""
    end = time.monotonic() + 10
    while (wrong := unwell(one.status())) and time.monotonic() < end:
        time.sleep(0.2)
    return [f"S: the status says {wrong}"] if wrong else []


def unwell(shown: dict[str, Any]) -> str:
    """Return what a status says that is not to be said when everything has arrived."""
    wrong = [f"{name} {shown[name]}" for name in ("queued", "settling", "trouble", "retrying") if shown[name]]
    return ", ".join(wrong) if shown["state"] == "idle" else f"{shown['state']}: {shown['why']}"


def meanwhile(one: Account, seconds: float) -> None:
    """Let the outage last, with more files coming, some over older versions."""
    time.sleep(seconds / 2)
    one.drop(FILES // 3, old=3)
    time.sleep(seconds / 2)


def busy(one: Account) -> int:
    """Drop files and wait for a random moment on their way; return how many are missing then."""
    one.drop(FILES, LARGE, old=4)
    time.sleep(one.chance.uniform(0, 0.6))
    return len(one.missing())


def away(plan: Plan, one: Account, disk: SmallDisk) -> str | None:
    """The server ends with all its connections, and is started again."""
    missing, sessions = busy(one), len(one.host.sessions())
    one.host.stop()
    meanwhile(one, OUTAGE[plan.mode])
    waiting = one.status()["why"]
    one.host.start()
    return f"{sessions} processes ended, {missing} files on their way; told: {waiting}" if waiting else None


def cut(plan: Plan, one: Account, disk: SmallDisk) -> str | None:
    """All connections are cut, three times in a row."""
    ended = 0
    for _ in range(3):
        busy(one)
        ended += len(one.host.sessions())
        one.host.cut()
    return f"{ended} processes ended" if ended else None


def frozen(plan: Plan, one: Account, disk: SmallDisk) -> str | None:
    """What serves the connections stands still, then goes on."""
    busy(one)
    still = len(one.host.sessions())
    one.host.freeze()
    meanwhile(one, min(OUTAGE[plan.mode], SHORT))
    one.host.freeze(thaw=True)
    return f"{still} processes stood still" if still else None


def half_open(plan: Plan, one: Account, disk: SmallDisk) -> str | None:
    """What serves the connections stands still until everything has come by new ones, and only then goes on."""
    busy(one)
    dead = len(one.host.sessions())
    one.host.freeze()
    one.drop(FILES // 3, old=3)
    return f"{dead} processes did not answer again" if dead else None


def full(plan: Plan, one: Account, disk: SmallDisk) -> str | None:
    """The disk is full while files come; then there is room again."""
    disk.leave(one.chance.randrange(64 << 10, 4 << 20))
    missing = busy(one)
    meanwhile(one, min(OUTAGE[plan.mode], SHORT))
    waiting = said(one, "space")
    disk.leave(DISK)
    return f"{missing} files on their way; told: {waiting}" if waiting else None


def said(one: Account, word: str) -> str | None:
    """Return the reason that the status names, once it holds a word."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        shown = one.status()
        retrying = (shown["retrying"] or {}).get("reason", "")
        for reason in (shown["why"], retrying):
            if word in reason:
                return str(reason)
        time.sleep(0.2)
    return None


TRIES: dict[str, Callable[[Plan, Account, SmallDisk], str | None]] = {
    "away": away,
    "cut": cut,
    "frozen": frozen,
    "half open": half_open,
    "disk full": full,
}

ROW = Row(
    id="H2",
    title="hot directory behind ssh: sshd away 20 s, connections cut, frozen, half open; its disk full, then freed",
    must="L0 C0 D0 F0 S0 O0; the cause is told; goes on alone, all there within 90 s",
    run=run,
    ci=25,
    full=250,
    slice=5,
)
