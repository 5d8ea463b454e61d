"""H4: hostile names, a host whose key changed, and two agents on one directory, before an account behind ssh."""

import time
from itertools import chain

from tests.faults.account import PATIENCE, Account, account
from tests.faults.hostile import Name, clashes, fixed, made_up
from tests.faults.plan import Plan, Row
from tests.faults.witness import rows
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import Process

NAMES = {"slice": 60, "ci": 500, "full": 500}
AGAIN = {"slice": 1, "ci": 5, "full": 50}
"""How often each of the other tries is made."""
LARGE = {"slice": 12 << 20, "ci": 64 << 20, "full": 64 << 20}
FILES = 40
EVERYTHING = 'filter = ["+ .*", "+ *.part", "+ *.partial", "+ *.tmp", "+ *.crdownload", "+ ~$*"]'
"""Rules that spell out what hot directories leave out otherwise."""

ENDED = ("delivered", "refused", "skipped")
SILENCE = 3.0
"""Seconds in which nothing may arrive at a host that is not trusted."""


def run(plan: Plan) -> None:
    """Try the names, then the rest."""
    hostile_names(plan)
    for number in range(AGAIN[plan.mode]):
        for kind in (key_changed, two_agents, started_twice):
            with (
                plan.room(f"{kind.__name__}-{number}") as base,
                account(base, plan.chance(kind.__name__, number)) as one,
            ):
                one.agent.start()
                one.ready()
                one.witness.start()
                kind(plan, one)
                plan.blame(one.judge())
                one.measure(plan)
    plan.stated = 0 if plan.mode == "slice" else len(plan.tries)


def chosen(plan: Plan) -> list[Name]:
    """Return names that files can have, none of them a folder of another one."""
    chance = plan.chance("names")
    found: dict[str, Name] = {}
    some = list(fixed())
    for name in chain(some if plan.mode != "slice" else chance.sample(some, NAMES["slice"]), made_up(chance)):
        if len(found) == NAMES[plan.mode]:
            break
        if name.on_disk and name.text not in found and not clashes(name.text, set(found)):
            found[name.text] = name
    return list(found.values())


def hostile_names(plan: Plan) -> None:
    """Half of the names are there before the agent, half are renamed in while it runs."""
    names = chosen(plan)
    with plan.room("names") as base, account(base, plan.chance("names"), hot=EVERYTHING) as one:
        one.put_all({name.text: name.content() for name in names[::2]})
        one.agent.start()
        one.witness.start()
        time.sleep(1.0)
        one.put_all({name.text: name.content() for name in names[1::2]})
        ends = ended(one)
        for name in names:
            record(plan, one, name, ends)
        refused = len(one.unwanted)
        end = time.monotonic() + 15
        while (shown := one.status()["trouble"]) != refused and time.monotonic() < end:
            time.sleep(0.5)
        if shown != refused:
            plan.blame([f"S: {refused} names were refused, the status says {shown}"])
        plan.blame(one.judge())
        plan.add("names refused", refused)
        one.measure(plan)


def ended(one: Account) -> dict[str, tuple[str, str]]:
    """Wait until everything has ended in some way; return state and reason by name."""
    end = time.monotonic() + PATIENCE
    while True:
        found = {row.raw.decode("utf-8", "surrogateescape"): (row.state, row.reason) for row in rows(one.state)}
        if all(found.get(path, ("", ""))[0] in ENDED for path in one.noted) or time.monotonic() > end:
            return found
        time.sleep(0.2)


def record(plan: Plan, one: Account, name: Name, ends: dict[str, tuple[str, str]]) -> None:
    """Note what came of one name: it is there with its bytes, or it was refused with a reason."""
    state, reason = ends.get(name.text, ("unknown", ""))
    there = one.stored(name.text) == one.noted[name.text][-1]
    wrong = []
    if state != "delivered":
        one.unwanted.add(name.text)
        one.pending.discard(name.text)
    if not (state == "delivered" and there) and not (state == "refused" and reason and not there):
        wrong.append(f"S: {name.text!a} is {state} ({reason}), {'there' if there else 'not there'}")
    if name.taken and state != "delivered":
        wrong.append(f"S: {name.text!a} is a good name, but {state}: {reason}")
    plan.record(f"name, {name.kind}: {ascii(name.text)[1:60]}", f"{state} {reason}".strip(), wrong)


def key_changed(plan: Plan, one: Account) -> None:
    """The host shows another key: nothing goes there until somebody trusts it."""
    one.host.change_key()
    welcomed = one.host.process.log.read_bytes().count(b"Accepted")
    before = one.bytes()
    one.drop(FILES)
    reason = told(one, "key")
    time.sleep(SILENCE)
    wrong = [] if one.bytes() == before else ["F: bytes arrived at a host that is not trusted"]
    if one.host.process.log.read_bytes().count(b"Accepted") > welcomed:
        wrong.append("F: somebody signed in to a host that is not trusted")
    if "key" not in one.agent.tail(5000):
        wrong.append("S: the log says nothing of it")
    one.host.trust()
    if one.chance.random() < 0.5 or plan.mode == "slice":  # as people do who do not want to wait for its next try
        one.agent.terminate()
        one.agent.start()
    plan.most("all there after the key is trusted, s, at most", one.settled())
    missing = [f"S: {path} is not there" for path in sorted(one.missing())[:5]]
    plan.record("the key of the host changed", reason, wrong + missing)


def told(one: Account, word: str) -> str:
    """Return what the status says once it holds a word; nothing when it never does."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        shown = one.status()
        if word in shown["why"] and shown["state"] in ("waiting", "broken"):
            return f"{shown['state']}: {shown['why']}"
        time.sleep(0.2)
    return ""


def two_agents(plan: Plan, one: Account) -> None:
    """Agents of two users send one directory to one place at once; both finish, and nothing is mixed up."""
    home = one.base / "other"
    home.mkdir()
    env = clean_environment(home, {"DRAY_CONFIG": str(one.config)})
    other = Process([str(DRAY), "start", "--foreground"], one.base / "other.log", env)
    other.start()
    try:
        for _ in range(3):
            one.drop(FILES, LARGE[plan.mode], old=FILES // 4)
            time.sleep(one.chance.uniform(0, 0.5))
        both = one.agent.running and other.running
        one.settled()
        wrong = [f"S: {path} is not there" for path in sorted(one.missing())[:5]] + unfinished(one)
    finally:
        other.kill9()
    plan.record("two agents on one directory", f"{len(one.noted)} files" if both else None, wrong)


def unfinished(one: Account) -> list[str]:
    """Wait for the other agent as well; return what it does not call delivered."""
    state, end = one.base / "other" / ".local" / "state" / "dray", time.monotonic() + PATIENCE
    while True:
        done = {row.raw.decode(): row.sha256 for row in rows(state) if row.state == "delivered"}
        open_ = [path for path, versions in one.noted.items() if done.get(path) != versions[-1]]
        if not open_ or time.monotonic() > end:
            return [f"S: {path} is not delivered for the other agent" for path in open_[:5]]
        time.sleep(0.2)


def started_twice(plan: Plan, one: Account) -> None:
    """A second agent of the same user, or a watch of the same directory, has to say no."""
    one.drop(FILES)
    to = f"sftp://cluster/{one.store}"
    env = one.env | {"DRAY_SSH_CONFIG_FILE": str(one.host.config)}
    commands = (["start", "--foreground"], ["watch", "--once", str(one.hot), to])
    said, wrong = [], []
    for number, command in enumerate(commands):
        second = Process([str(DRAY), *command], one.base / f"second{number}.log", env)
        second.start()
        code = second.wait(60)
        said.append(f"{command[0]}: exit {code}, {' '.join(second.tail(300).split())}")
        if code == 0 or not second.tail():
            wrong.append(f"D: dray {command[0]} ran beside an agent: {said[-1]}")
    one.settled()
    plan.record("started twice by one user", "; ".join(said), wrong)


ROW = Row(
    id="H4",
    title="hot directory behind ssh: 500 hostile names, the key of the host changed, two agents on one directory",
    must="every name arrives or is refused with a reason; nothing goes to an unknown key; L0 C0 D0 F0 S0 O0",
    run=run,
    ci=0,
    full=0,
    slice=1,
)
