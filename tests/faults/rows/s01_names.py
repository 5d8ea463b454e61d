"""S1: five hundred hostile names through every door that Dray has so far, and links that an attacker plants."""

from tests.faults.canary import SECRET, Canary, strangers
from tests.faults.doors import DOORS, House, fill
from tests.faults.hostile import names
from tests.faults.plan import Plan, Row
from tests.faults.plants import PLANTS, Garden
from tests.faults.rig import rig_in

OURS = (
    *(f"server/data/{name}" for name in ("store", "inbox", "admin.token", "signing.key")),
    *(f"server/data/database.sqlite{suffix}" for suffix in ("", "-wal", "-shm", ".lock")),
    *("server/home", "server/dray.log", "ledger", "home", "source", "source.aside", "hot", "fetched", "elsewhere"),
    *("said.jsonl", "sampler.json", "sampler.log", "canary", "server/canary", "server/data/canary"),
)
"""All that may lie in the room of this row."""


def run(plan: Plan) -> None:
    """Try every name at every door, then plant links, and look around after each."""
    chance = plan.chance("names")
    chosen = names(chance)
    chosen = chance.sample(chosen, plan.count) if plan.count else chosen
    with plan.room("all") as base, rig_in(base) as rig:
        rig.server.start()
        canary = Canary([base, base / "server", rig.server.data])
        house = House(rig, chosen, canary)
        fill(house)
        canary.touched()
        for door in DOORS:
            enter(plan, house, door)
        plants(plan, house)
        canary.close()
        rig.reap()
        plan.stated = 0 if plan.count else len(plan.tries)
        wanted = frozenset(v.key for v in rig.ledger.versions()) - house.left_out
        plan.blame([str(finding) for finding in rig.judge(wanted) if "planted/" not in finding.text])


def enter(plan: Plan, house: House, door: str) -> None:
    """Record what came of each name at one door, and what was touched meanwhile."""
    work, coming = DOORS[door]
    wrong = work(house)
    for name in coming(house):
        proof = f"{'taken' if name.taken else 'refused'}: {ascii(name.text)[1:60]}"
        plan.record(f"{door}, {name.kind}", proof, wrong.get(name.text, []))
    plan.blame(around(house))


def around(house: House) -> list[str]:
    """Return what was touched that nobody may touch, and what lies where nothing may lie."""
    return house.canary.touched() + [f"{path} was written" for path in strangers(house.rig.base, OURS)]


def plants(plan: Plan, house: House) -> None:
    """Let an attacker who can write into the store plant links and more, and ask for what lies behind them."""
    garden = Garden(house, plan.chance("plants"))
    for name, plant in PLANTS.items():
        wrong = plant(garden)
        plan.record(f"planted: {name}", "planted, then asked for", wrong + around(house))
    fetched = (path for path in (house.rig.base / "fetched").rglob("*") if path.is_file() and not path.is_symlink())
    leaked = [str(path) for path in fetched if SECRET in path.read_bytes()]
    plan.blame([f"the secret is in {path}" for path in leaked])


ROW = Row(
    id="S1",
    title="500 hostile names by API, part address, manifest, hot directory, upload, download; planted links",
    must="0 reads or writes outside the root; each refusal reported; all others round-trip on download",
    run=run,
    ci=0,
    full=0,
    slice=20,
)
