"""R12: bytes that change after they were verified: ``dray scrub`` finds every one, and nothing else."""

import os
from pathlib import Path
from random import Random

from tests.faults.hand import Content, Hand
from tests.faults.plan import Plan, Row
from tests.faults.rig import DATASET, PATIENCE, Rig, rig_in
from tests.faults.store import digest

SETTINGS = {"DRAY_LIMITS_PART_SIZE": "1MiB"}
INTEGRITY = 6
SOUND = 20
"""Files that are left as they are; none of them may be called damaged."""
ROUND = 50
"""Damages between two scrubs."""


def run(plan: Plan) -> None:
    """Upload files, damage most of them, scrub, and compare what was found with what was done."""
    with plan.room("all") as base, rig_in(base, SETTINGS) as rig:
        rig.server.start()
        while len(plan.tries) < plan.count:
            damage_some(plan, rig, min(ROUND, plan.count - len(plan.tries)))


def damage_some(plan: Plan, rig: Rig, count: int) -> None:
    """Damage ``count`` new files of ``count + SOUND``."""
    number = len(plan.tries)
    chance = plan.chance("round", number)
    dataset = f"{DATASET}-{number}"
    contents = [Content(f"d{n % 5}/{n}.bin", chance.randbytes(size_of(chance))) for n in range(count + SOUND)]
    uploaded(rig, dataset, contents)
    chosen = chance.sample(contents, count)
    done = {content.path: damage(rig.store.root / dataset / content.path, chance) for content in chosen}
    scrub = rig.client("scrub", f"{rig.server.url}/{dataset}")
    code = scrub.wait(PATIENCE)
    states = {row.key.partition("/")[2]: row.state for row in rig.surfaces.files() if row.key.startswith(f"{dataset}/")}
    for path, proof in done.items():
        missed = [] if states[path] == "damaged" else [f"scrub did not find it: {path} is {states[path]}"]
        plan.record(f"{dataset}/{path}", proof, missed)
    wrong = [path for path, state in states.items() if (state == "damaged") != (path in done)]
    plan.blame([f"{path} is called {states[path]}" for path in wrong if path not in done])
    plan.blame([] if code == INTEGRITY else [f"dray scrub ended with {code}, not {INTEGRITY}: {scrub.tail(500)}"])


def size_of(chance: Random) -> int:
    return int(300_000 ** chance.random()) if chance.random() < 0.95 else chance.randrange(1 << 20, 3 << 20)


def uploaded(rig: Rig, dataset: str, contents: list[Content]) -> None:
    """Bring files in; all must be accepted."""
    for content in contents:
        rig.ledger.note(f"{dataset}/{content.path}", len(content.data), content.checksum.removeprefix("sha256:"))
    hand = Hand(rig.surfaces, rig.store, dataset)
    hand.upload(contents)
    assert len(hand.said) == len(contents), hand.problems


def damage(path: Path, chance: Random) -> str:
    """Damage one stored file as a disk would, behind its time stamps, and say how."""
    before, seen = digest(path)[1], path.stat()
    kind = chance.choice([flip, flip, flip, cut, grow, blank, lose])
    kind(path, chance)
    if not path.exists():
        return f"{kind.__name__}: sha256 {before[:12]} is gone"
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    after = digest(path)[1]
    assert after != before
    return f"{kind.__name__}: sha256 {before[:12]} became {after[:12]}"


def flip(path: Path, chance: Random) -> None:
    """Change one bit."""
    with path.open("r+b") as file:
        at = chance.randrange(path.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << chance.randrange(8))]))


def cut(path: Path, chance: Random) -> None:
    """Lose the end."""
    os.truncate(path, chance.randrange(path.stat().st_size))


def grow(path: Path, chance: Random) -> None:
    """Gain something."""
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randrange(1, 100)))


def blank(path: Path, chance: Random) -> None:
    """Read zeros where there was something."""
    path.write_bytes(bytes(path.stat().st_size) + (b"" if any(path.read_bytes()) else b"\0"))


def lose(path: Path, chance: Random) -> None:
    """Vanish."""
    path.unlink()


ROW = Row(
    id="R12",
    title="flips, truncation, growth, zeros, deletion at rest after verification",
    must="scrub finds 100 % and nothing else, exit code 6",
    run=run,
    ci=200,
    full=2000,
    slice=6,
)
