"""R2: SIGKILL at every call of the commit protocol that changes the disk, enumerated from a trace of a clean run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.nursery import Child, Nursery, child_of, in_parallel, nurseries, traced
from tests.faults.plan import Plan, Row, Try
from tests.faults.points import CALLS, Point, killed_in, points, thinned
from tests.faults.rig import Rig, rig_in
from tests.faults.rows.r02_clients import SETTINGS as CLIENT_SETTINGS
from tests.faults.rows.r02_clients import Clients, common
from tests.faults.rows.r02_first_start import hit_start, start_points
from tests.faults.scenario import SETTINGS, Bench, Scenario

WAL = "database.sqlite-wal"
ATTEMPTS = 6
"""How often a point is aimed at before it counts as gone."""


Hit = Callable[[Plan, Nursery, Point, Path], Try]
Look = Callable[[Plan, Nursery], list[Point]]
Aim = tuple[Hit, Point]


def run(plan: Plan) -> None:
    """Enumerate the points once, then hit each."""
    with nurseries() as found, plan.room("server") as base, rig_in(base, CLIENT_SETTINGS) as rig:
        rig.server.start()
        known = [(aim, point) for look, aim in groups(plan, rig) for point in look(plan, found[0])]
        wanted = known * (5 if plan.mode == "full" else 1)
        plan.stated = len(wanted)
        plan.add("points", len(known))
        in_parallel(plan, found, chosen(plan, wanted), aimed)
        rig.reap()
        plan.blame(rig.judge())


def groups(plan: Plan, rig: Rig) -> list[tuple[Look, Hit]]:
    """Return how each kind of points is found and hit; in a slice the server's own and one other kind."""
    watch, download = Clients(rig, "watch"), Clients(rig, "download")
    others: list[tuple[Look, Hit]] = [
        (start_points, hit_start),
        (watch.points, watch.hit),
        (download.points, download.hit),
    ]
    return [(enumerate_points, hit), *(plan.chance("group").sample(others, 1) if plan.mode == "slice" else others)]


def aimed(plan: Plan, found: Nursery, aim: Aim, base: Path) -> Try:
    """Aim at a point, again when it never came."""
    hit, point = aim
    return until_proven(base, lambda inner: hit(plan, found, point, inner))


def until_proven(base: Path, attempt: Callable[[Path], Try]) -> Try:
    """Make a try a few times, each in a directory of its own, until the fault fired or something was found."""
    for number in range(ATTEMPTS):
        inner = base / str(number)
        inner.mkdir()
        made = attempt(inner)
        if made.proof or made.findings:
            break
    return made


def chosen(plan: Plan, wanted: list[Aim]) -> list[Aim]:
    """Return all points, or a sample in a slice (or when a count was asked for)."""
    return plan.chance("points").sample(wanted, min(plan.count, len(wanted))) if plan.count else wanted


def enumerate_points(plan: Plan, found: Nursery) -> list[Point]:
    """Return the points that all runs in which nothing is killed have in common: commits may be grouped otherwise."""
    return common(plan, lambda number: trace_points(plan, found, number))


def trace_points(plan: Plan, found: Nursery, number: int) -> list[Point]:
    """Trace a run in which nothing is killed."""
    with plan.room(f"clean-{number}") as base, bench(plan, found, base) as (child, work):
        with child.threads() as threads:
            names = {number: name for name, number in threads.items()}
            with traced(child.pid or 0, ["-f", "-e", f"trace={','.join(CALLS)}"], base / "trace"):
                assert work.play(child.url, child.token), child.log.read_text()
        trace = (base / "trace").read_text()
        return thinned(points(trace, child.data, names), WAL)


@contextmanager
def bench(plan: Plan, found: Nursery, base: Path) -> Iterator[tuple[Child, Bench]]:
    """Lend a running server that did everything once, and the work to be done on it."""
    with child_of(found, base, SETTINGS) as child:
        work = Bench(base, child.data, Scenario(plan.chance("contents")))
        with work.ledger:
            child.start()
            work.warm(child.url, child.token, plan.chance("warm"))
            yield child, work


def hit(plan: Plan, found: Nursery, point: Point, base: Path) -> Try:
    """Kill the server at one point, start it again, do the rest, and judge."""
    with bench(plan, found, base) as (child, work):
        try:
            return Try(str(point), killed(child, work, point, base / "trace"), tuple(recovered(child, work)))
        except ConnectionError:
            if child.alive:
                raise
            # It came when the work was done, and nobody was looking any more.
            return Try(str(point), None)


def killed(child: Child, work: Bench, point: Point, log: Path) -> str | None:
    """Play the scenario with the kill armed; return the proof that it fired, None when the point never came."""
    with child.threads() as threads, traced(threads[point.thread], point.options(child.data, "signal=KILL"), log):
        finished = work.play(child.url, child.token)
    if finished and child.alive:
        return None
    code = child.wait()
    return killed_in(point, code, log)


def recovered(child: Child, work: Bench) -> list[str]:
    """Start again, do what was left, clear away, and return the breaches."""
    if not child.alive:
        child.start()
    work.scenario.finish(work.hand(child.url, child.token))
    shown = work.shown(child.url, child.token, work.newest())
    child.terminate()
    child.reap()
    return [str(finding) for finding in work.judge(shown)]


ROW = Row(
    id="R2",
    title="SIGKILL at every write, sync, link, rename, unlink and commit: server, its first start, watch, download",
    must="L0 C0 D0 F0 O0",
    run=run,
    ci=0,
    full=0,
    slice=4,
)
