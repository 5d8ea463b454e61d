"""R7: inbox, store and database on a disk that is full, and freed later: it says so, waits, and goes on by itself."""

import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from random import Random

from tests.faults.plan import Plan, Row
from tests.faults.rig import DATASET, PATIENCE, Rig, rig_in
from tests.faults.small_disk import SmallDisk, small_disk
from tests.faults.surfaces import TROUBLE
from tests.servers.process import Process

SIZE = {"slice": 128 << 20, "ci": 600 << 20, "full": 6 << 30}
TREE = 3 << 20
SPACE = 8 * TREE
"""What is left free for a tree and for what the server keeps in reserve."""
SETTINGS = {"DRAY_LIMITS_PART_SIZE": "256KiB"}
RESERVES = ("0", "0", "1")
"""Percent of the disk that the server leaves free by itself: with 0 only the disk's own refusal stops it."""
ALONE = 60.0
"""Seconds after space is free in which everything must have arrived without help."""
FIRST = 0.25
"""Share of tries in which the disk is full before the upload begins; the others fill it on the way."""
FULL = 20.0
"""Seconds in which a full disk must be noticed and shown."""
WORDS = ("no space", "is full")
GROUP = 20
"""Tries on one disk."""


def run(plan: Plan) -> None:
    """Fill and free disks until it was tried often enough."""
    for number, count in plan.campaigns(GROUP):
        chance = plan.chance("disk", number)
        settings = SETTINGS | {"DRAY_LIMITS_FREE_PERCENT": chance.choice(RESERVES)}
        with (
            plan.room(number) as base,
            small_disk(base / "server" / "data", SIZE[plan.mode]) as disk,
            rig_in(base, settings, prefix=disk.prefix) as rig,
        ):
            rig.store_at(disk.outside)
            rig.server.start()
            rig.watch()
            for turn in range(count):
                fill_and_free(plan, rig, disk, chance, turn)
            rig.unwatch()
            plan.blame(rig.judge())
            rig.server.terminate()
            plan.blame(database_trouble(disk.outside, base / "copy"))


def fill_and_free(plan: Plan, rig: Rig, disk: SmallDisk, chance: Random, number: int) -> None:
    """Leave too little space for a tree, see that it is shown, free the disk, and wait for the end."""
    for index in range(12):
        rig.writer.write(f"{number}/{index}.bin", chance.randbytes(chance.randrange(TREE // 6)))
    first = chance.random() < FIRST
    left = disk.leave(chance.choice([0, chance.randrange(TREE // 2)]) if first else SPACE)
    client = rig.client("upload", str(rig.source / str(number)), f"{rig.server.url}/{DATASET}")
    if not first:
        moved(rig, client, chance.randrange(TREE // 2))
        left = disk.leave(0)
        if not client.running:
            return  # everything had arrived before the disk was full: nothing was tried
    shown = seen(rig, client)
    if not shown and not client.running and client.wait() == 0:
        return  # everything needed was on the disk already: nothing was tried
    full = disk.free
    time.sleep(chance.uniform(0, 3))
    disk.leave(SPACE)
    findings = ended(plan, client) + ([] if shown else [f"nobody said that there is no space: {client.tail(500)}"])
    proof = f"{left} bytes left, {full} when it was noticed: {shown}" if shown else None
    plan.record(f"disk filled {'before' if first else 'during'} an upload", proof, findings)


def moved(rig: Rig, client: Process, size: int) -> None:
    """Wait until so many bytes of an upload are on the disk."""
    before = rig.store.bytes()
    while client.running and rig.store.bytes() <= before + size:
        time.sleep(0.01)


def ended(plan: Plan, client: Process) -> list[str]:
    """Wait for the end of an upload whose disk is free again."""
    begun, findings = time.monotonic(), []
    try:
        code = client.wait(ALONE)
    except subprocess.TimeoutExpired:
        findings.append(f"S: not there {ALONE:g} s after space was free")
        code = client.wait(PATIENCE)
    plan.most("arrived after space was free, s at most", time.monotonic() - begun)
    return findings + ([] if code == 0 else [f"upload ended with {code}: {client.tail(500)}"])


def seen(rig: Rig, client: Process) -> str | None:
    """Wait until the client or the server says that there is no space; return the words."""
    deadline = time.monotonic() + FULL
    while client.running and time.monotonic() < deadline:
        for line in (*client.tail().splitlines(), *reasons(rig)):
            if any(word in line.lower() for word in WORDS):
                return line.strip()[-200:]
        time.sleep(0.1)
    return None


def reasons(rig: Rig) -> list[str]:
    """Return why the server's queue waits."""
    try:
        return [str(rig.surfaces.status()["queue"]["reason"])]
    except TROUBLE:
        return []


def database_trouble(data: Path, copy: Path) -> list[str]:
    """Return what SQLite's own check says against the database of a stopped server."""
    copy.mkdir()
    for file in data.glob("database.sqlite*"):
        shutil.copy(file, copy)
    connection = sqlite3.connect(copy / "database.sqlite")
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    connection.close()
    return [] if said == ["ok"] else [f"C: the database: {text}" for text in said]


ROW = Row(
    id="R7",
    title="disk of inbox, store and database full, then freed",
    must='L0 C0 F0; shows "no space"; goes on alone within 60 s; database intact',
    run=run,
    ci=40,
    full=400,
    slice=1,
)
