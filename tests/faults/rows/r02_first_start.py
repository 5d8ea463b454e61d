"""R2, first start: the server is killed while it makes its directories, its database, its key and its first token."""

from contextlib import ExitStack
from pathlib import Path

from tests.faults.nursery import Child, Nursery, child_of, traced
from tests.faults.plan import Plan, Try
from tests.faults.points import CALLS, Point, points, thinned
from tests.faults.scenario import SETTINGS, Bench, Scenario

LOGS = ("database.sqlite-wal", "database.sqlite-journal")


def start_points(plan: Plan, found: Nursery) -> list[Point]:
    """Trace a first start; a point is the first time any thread makes its n-th such call."""
    with plan.room("start") as base, child_of(found, base, SETTINGS) as child:
        started(child, ["-e", f"trace={','.join(CALLS)}"], base / "trace")
        child.ready()
        seen = points((base / "trace").read_text(), child.data, None)
        for log in LOGS:
            seen = thinned(seen, log)
        return [point._replace(thread="start") for point in seen]


def started(child: Child, options: list[str], log: Path) -> None:
    """Start a server that strace looks at from its first call on, until it answers or is gone."""
    child.begin(hold=True)
    with ExitStack() as stack:
        with child.threads():
            assert child.pid
            stack.enter_context(traced(child.pid, ["-f", *options], log))
        child.settle()


def hit_start(plan: Plan, found: Nursery, point: Point, base: Path) -> Try:
    """Kill a first start, start again, upload, and judge."""
    with child_of(found, base, SETTINGS) as child:
        started(child, point.options(child.data, "signal=KILL"), base / "trace")
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
        return Try(str(point), proof, tuple(map(str, work.judge(shown))))


def killed_in(point: Point, code: int, log: Path) -> str | None:
    """Return the proof that the process was killed in the call that was meant."""
    calls = [line for line in log.read_text().splitlines() if f"{point.call}(" in line][-1:]
    return f"exit {code} in {calls[0][:160]}" if code == -9 and calls and point.is_in(calls[0]) else None
