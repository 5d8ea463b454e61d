"""R2, first start: the server is killed while it makes its directories, its database, its key and its first token."""

from pathlib import Path

from tests.faults.nursery import Nursery, child_of
from tests.faults.plan import Plan, Try
from tests.faults.points import CALLS, Point, killed_in, points, thinned
from tests.faults.scenario import SETTINGS, Bench, Scenario

LOGS = ("database.sqlite-wal", "database.sqlite-journal")


def start_points(plan: Plan, found: Nursery) -> list[Point]:
    """Trace a first start; a point is the first time any thread makes its n-th such call."""
    with plan.room("start") as base, child_of(found, base, SETTINGS) as child:
        with child.traced_from_start(["-e", f"trace={','.join(CALLS)}"], base / "trace"):
            child.ready()
        seen = points((base / "trace").read_text(), child.data, None)
        for log in LOGS:
            seen = thinned(seen, log)
        return [point._replace(thread="start") for point in seen]


def hit_start(plan: Plan, found: Nursery, point: Point, base: Path) -> Try:
    """Kill a first start, start again, upload, and judge."""
    with child_of(found, base, SETTINGS) as child:
        with child.traced_from_start(point.options(child.data, "signal=KILL"), base / "trace"):
            child.settle()
        proof = None
        if not child.alive:
            proof = killed_in(point, child.wait(), base / "trace")
        else:
            child.terminate()
        child.start()
        work = Bench(base, child.data, Scenario(plan.chance("contents")))
        work.warm(child.url, child.token, plan.chance("warm"))
        shown = work.shown(child.url, child.token, work.warmed())
        child.terminate()
        child.reap()
        with work.ledger:
            return Try(str(point), proof, tuple(map(str, work.judge(shown))))
