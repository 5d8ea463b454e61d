"""R4: the disk fails (EIO) or is full (ENOSPC) at each site of the commit protocol, once or from then on.

Once is the fsync that lies: after its error the kernel calls the next one a success, though the bytes are gone.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.nursery import Child, Nursery, in_parallel, nurseries, traced
from tests.faults.plan import Plan, Row, Try
from tests.faults.points import CALLS, CLOSE, READS, Point, points
from tests.faults.rows.r02_kill_points import bench, recovered, until_proven
from tests.faults.scenario import Bench

TIMES = {"slice": 3, "ci": 3, "full": 9}
"""How many points of each site are hit, spread over the run."""
FEW = 10
WORDS = ("input/output error", "disk i/o error", "no space left", "is full", "disk or system fails", "database")


class Fault(NamedTuple):
    """An error at a point; ``when`` is strace's word for how often."""

    point: Point
    error: str
    when: str

    def __str__(self) -> str:
        return f"{self.error} {'from then on' if self.when.endswith('+') else 'once'} {self.point}"


def run(plan: Plan) -> None:
    """Find the sites in a clean run, then let some points of each fail."""
    with nurseries() as found:
        sites = enumerate_sites(plan, found[0])
        wanted = [fault for site in sites.values() for fault in faults(site, TIMES[plan.mode])]
        plan.stated = len(wanted)
        plan.add("sites", len(sites))
        chosen = plan.chance("faults").sample(wanted, min(plan.count, len(wanted))) if plan.count else wanted
        in_parallel(plan, found, chosen, hit)


def enumerate_sites(plan: Plan, found: Nursery) -> dict[tuple[str, str, str], list[Point]]:
    """Trace a clean run; a site is a thread, a call and a kind of file."""
    calls = (*CALLS, *READS, *CLOSE)
    with plan.room("clean") as base, bench(plan, found, base) as (child, work):
        with child.threads() as threads:
            names = {number: name for name, number in threads.items()}
            with traced(child.pid or 0, ["-f", "-e", f"trace={','.join(calls)}"], base / "trace"):
                assert work.play(child.url, child.token), child.log.read_text()
        sites = defaultdict(list)
        for point in points((base / "trace").read_text(), child.data, names, calls):
            if point.call not in CLOSE or kind(point) != "folder":  # nothing is lost when a folder is closed
                sites[point.thread, point.call, kind(point)].append(point)
        return dict(sites)


def kind(point: Point) -> str:
    """Return what kind of file a point is about."""
    text = point.path or point.about
    for name, pattern in KINDS.items():
        if re.search(pattern, text):
            return name
    return "folder"


KINDS = {
    "side file": r"\.parts$",
    "staged file": r"\.staged",
    "database": r"database\.sqlite$",
    "log of the database": r"database\.sqlite-",
    "versions": r"\.dray",
    "stored file": r"^store/.*\.bin",
}


def faults(site: Sequence[Point], times: int) -> list[Fault]:
    """Return what is tried at a site: points from its begin to its end, EIO and ENOSPC in turn where both can be."""
    site = site[: max(FEW, len(site) * 9 // 10)]  # at the end commits may be grouped otherwise in another run
    step = max(1, (len(site) - 1) // max(1, times - 1))
    chosen = [site[min(number * step, len(site) - 1)] for number in range(times)]
    return [fault(point, number) for number, point in enumerate(dict.fromkeys(chosen))]


def fault(point: Point, number: int) -> Fault:
    """Return the ``number``-th fault of a site: EIO, ENOSPC where there is such a thing, EIO from then on."""
    full = number % 3 == 1 and point.call not in (*READS, *CLOSE, "unlinkat", "unlink")
    return Fault(point, "ENOSPC" if full else "EIO", f"{point.n}+" if number % 3 == 2 else str(point.n))


def hit(plan: Plan, found: Nursery, one: Fault, base: Path) -> Try:
    """Let one call fail; again when it never came."""
    return until_proven(base, lambda inner: fail(plan, found, one, inner))


def fail(plan: Plan, found: Nursery, one: Fault, base: Path) -> Try:
    """Let one call fail, see that the cause is shown, send again without faults, and judge."""
    with bench(plan, found, base) as (child, work):
        proof = failed(child, work, one, base / "trace")
        told = " ".join([*work.problems, child.log.read_text()]).lower()
        shown = any(word in told for word in WORDS)
        findings = [] if shown or not proof else [f"nothing shows the cause: {work.problems[-1:]}"]
        findings += [] if child.alive else ["the server ended"]
        return Try(str(one), proof, (*findings, *recovered(child, work)))


def failed(child: Child, work: Bench, one: Fault, log: Path) -> str | None:
    """Play the scenario with the fault armed; return the injected call."""
    options = one.point.options(child.data, f"error={one.error}", one.when)
    with child.threads() as threads, traced(threads[one.point.thread], options, log):
        work.play(child.url, child.token)
    injected = [line for line in log.read_text().splitlines() if "(INJECTED" in line]
    return injected[0][:200] if injected else None


ROW = Row(
    id="R4",
    title="EIO and ENOSPC at each site of the commit protocol, once and from then on",
    must="never verified with other bytes; cause visible; sending again recovers",
    run=run,
    ci=0,
    full=0,
    slice=3,
)
