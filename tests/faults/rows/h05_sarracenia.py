"""H5: what becomes of the drops of H3 when real Sarracenia has the directory. Its losses are counted, not ours."""

from concurrent.futures import ThreadPoolExecutor

from tests.faults.plan import Plan, Row
from tests.faults.rival import Rival, rival
from tests.faults.rows import h03_drops as drops

TOGETHER = 5
KINDS = {
    kind: drops.TRIES[kind]
    for kind in (
        "dot, then renamed",
        "tmp, then renamed",
        "rsync",
        "editors",
        "slow writer",
        "while down",
        "folders moved in",
        "killed after a burst",
        "stopped after a burst",
    )
}


def run(plan: Plan) -> None:
    """Try every way with a fresh directory, some of them side by side: mostly it is waited whether more comes."""
    kinds = list(KINDS) if plan.mode != "slice" else ["folders moved in"]
    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(lambda number: attempt(plan, number, kinds[number % len(kinds)]), range(plan.count)))


def attempt(plan: Plan, number: int, kind: str) -> None:
    """Try one way."""
    with plan.room(number) as base, rival(base, plan.chance("try", number)) as one:
        one.agent.start()
        one.put_all({f"first{index}": b"%d" % index for index in range(3)})
        one.settled()
        working = not one.missing()
        one.witness.start()
        before = versions(one)
        proof = KINDS[kind](plan, one)
        one.settled()
        lost = count(plan, one, kind, versions(one) - before)
        plan.record(f"{kind}, lost {lost}", proof if working else None)


def versions(one: Rival) -> int:
    return sum(map(len, one.noted.values()))


def count(plan: Plan, one: Rival, kind: str, written: int) -> int:
    """Note what is not there in its newest version, and what was seen half; return how many were lost."""
    lost = {path for path in one.missing() if path not in one.unwanted}
    gone = [path for path in lost if one.stored(path) is None]
    half = {finding for finding in one.witness.findings if finding.startswith(("C", "F"))}
    plan.add(f"{kind}: versions written", written)
    plan.add(f"{kind}: lost", len(lost))
    plan.add(f"{kind}: of these nothing there", len(gone))
    plan.add(f"{kind}: seen unfinished", len(half))
    return len(lost)


ROW = Row(
    id="H5",
    title="the drops of H3 with real Sarracenia (metpx-sr3, its watch as its example has it) instead of the agent",
    must="only counted: what it lost stands below",
    run=run,
    ci=9,
    full=45,
    slice=1,
)
