"""R17: programs of all habits write into hot directories; nothing that was not finished may be what is there."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.faults.clients import end_watch, start_watch, wait_for_newest
from tests.faults.plan import Plan, Row
from tests.faults.rig import Rig, rig_in
from tests.faults.scribes import FOLDER_MARKED, MARKED, PLAIN, REOPENED, SETTLE, Scribe, Way
from tests.servers.process import Process

TOGETHER = 60
"""Scribes that write at the same time."""
PATIENCE = 120.0
"""Seconds within which all must have arrived once the last scribe has ended."""


@dataclass(frozen=True)
class Habit:
    """Hot directories of one kind: how they are watched, and the ways in which files come there."""

    dataset: str
    options: tuple[str, ...]
    ways: list[Way]


HABITS = (
    Habit("run", (), PLAIN),
    Habit("reopened", ("--reopened",), REOPENED),
    Habit("marked", ("--done-file", "{name}.done"), MARKED),
    Habit("folders", ("--done-file", "READY"), FOLDER_MARKED),
)


def run(plan: Plan) -> None:
    """Let scribes write in campaigns until there were enough."""
    number = 0
    while len(plan.tries) < plan.count:
        campaign(plan, number, min(TOGETHER, plan.count - len(plan.tries)))
        number += 1


def campaign(plan: Plan, number: int, scribes: int) -> None:
    """Watch, write, wait until all is there, and judge."""
    turns = [(habit, way) for habit in HABITS for way in habit.ways]
    chosen = [turns[(plan.seed + len(plan.tries) + index) % len(turns)] for index in range(scribes)]
    with plan.room(number) as base, rig_in(base) as rig:
        rig.server.start()
        rig.watch()
        watches = [watched(rig, habit) for habit in HABITS if any(habit is mine for mine, _ in chosen)]
        made = [scribe_of(plan, rig, habit, number, index) for index, (habit, _) in enumerate(chosen)]
        with ThreadPoolExecutor(scribes) as pool:
            list(pool.map(lambda one: one[0].write(one[1][1]), zip(made, chosen, strict=True)))
        wanted = frozenset(key for scribe in made for key in scribe.keys)
        wait_for_newest(rig, wanted, watches, PATIENCE)
        findings = [finding for watch in watches for finding in end_watch(watch)]
        rig.unwatch()
        rig.reap()
        findings += [str(finding) for finding in rig.judge(wanted)]
        Hearing(plan, rig, findings).of(made, [way for _, way in chosen])


def watched(rig: Rig, habit: Habit) -> Process:
    """Begin to watch the directory of one kind."""
    tree = rig.base / habit.dataset
    tree.mkdir(exist_ok=True)
    (rig.base / f"{habit.dataset}.aside").mkdir(exist_ok=True)
    return start_watch(rig, tree, habit.dataset, [*habit.options, "--settle", f"{SETTLE}s"], "5s")


def scribe_of(plan: Plan, rig: Rig, habit: Habit, number: int, index: int) -> Scribe:
    chance = plan.chance("scribe", number, index)
    return Scribe(rig.ledger.file, rig.base / habit.dataset, habit.dataset, f"f{index:02}.dat", chance)


@dataclass
class Hearing:
    """Says of each scribe what came of its files."""

    plan: Plan
    rig: Rig
    findings: list[str]

    def of(self, scribes: list[Scribe], ways: list[Way]) -> None:
        """Record all."""
        published = self.published()
        for scribe, way in zip(scribes, ways, strict=True):
            mine = [text for text in self.findings if f"{scribe.dataset}/{scribe.name}" in text]
            self.plan.record(way.__name__.replace("_", " "), scribe.told() if scribe.ended else None, mine)
            self.measure(scribe, way, published)
        known = [f"{scribe.dataset}/{scribe.name}" for scribe in scribes]
        self.plan.blame([text for text in self.findings if not any(name in text for name in known)])

    def published(self) -> dict[str, list[float]]:
        """Return when each version of each file was published."""
        found: dict[str, list[float]] = {}
        for row in self.rig.surfaces.pages("/files", version="all"):
            found.setdefault(f"{row['dataset']}/{row['path']}", []).append(row["published"] or 0.0)
        return found

    def measure(self, scribe: Scribe, way: Way, published: dict[str, list[float]]) -> None:
        """Note how long it took to be found, and how much came that was whole for a moment only."""
        for key in scribe.keys:
            times = published.get(key, [])
            if times:
                self.plan.most("verified s after it was finished, at most", max(times) - scribe.ended)
            self.plan.add("contents that were whole for a moment only", max(0, len(times) - 1))
        if way.__name__ == "given_up" and any(scribe.name in key for key in published):
            self.plan.blame([f"F: {scribe.name} was never finished, but is there"])


ROW = Row(
    id="R17",
    title="hot directories: slow append, preallocation, mappings, temp + rename, sparse, open handles, done-files",
    must="0 unfinished contents ingested or left as the newest; all found; L0 C0 D0 F0 S0 O0",
    run=run,
    ci=300,
    full=3000,
    slice=23,
)
