"""H3: the ways in which files come into a hot directory before an account behind ssh, all at once or half."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.account import Account, account
from tests.faults.overheard import LIMIT, Overheard
from tests.faults.plan import Plan, Row
from tests.servers.process import find_command

BURST = {"slice": 400, "ci": 2000, "full": 2000}
MANY = {"slice": 300, "ci": 30_000, "full": 30_000}
LARGE = {"slice": 24 << 20, "ci": 64 << 20, "full": 64 << 20}
FILES = 8


def run(plan: Plan) -> None:
    """Try every way, then all of them again with another account."""
    kinds = list(TRIES)
    for number, tries in plan.campaigns(len(kinds)):
        with plan.room(number) as base, account(base, plan.chance("campaign", number)) as one:
            one.agent.start()
            one.ready()
            one.witness.start()
            for _ in range(tries):
                attempt(plan, one, kinds[len(plan.tries) % len(kinds)])
            plan.blame(one.judge())
            one.measure(plan)


def attempt(plan: Plan, one: Account, kind: str) -> None:
    """Try one way; what had arrived before it could be hurt is no try."""
    proof = TRIES[kind](plan, one)
    took = one.settled()
    missing = [f"S: {path} is not there after {took:.0f} s" for path in sorted(one.missing())[:5]]
    plan.most(f"{kind}: all there after s, at most", took)
    if proof or missing:
        plan.record(kind, proof, missing)


def names(plan: Plan, one: Account, count: int = FILES) -> list[str]:
    """Return fresh names in folders that are there."""
    one.rounds += 1
    (one.hot / f"r{one.rounds}").mkdir()
    return [f"r{one.rounds}/f{number}" for number in range(count)]


def some(one: Account) -> bytes:
    return one.chance.randbytes(int(400_000 ** one.chance.random()))


def in_pieces(one: Account, path: Path, data: bytes, pause: float) -> None:
    """Write a file bit by bit."""
    step = len(data) // 4 + 1
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(data), step):
            file.write(data[at : at + step])
            time.sleep(pause)


def renamed(one: Account, paths: list[str], aside: Callable[[Path], Path]) -> str:
    """Write files slowly under other names in the same folder, then rename them."""
    for path in paths:
        data, final = some(one), one.hot / path
        part = aside(final)
        in_pieces(one, part, data, 0.02)
        os.utime(part)
        one.note(path, data)
        part.rename(final)
    return f"{len(paths)} files renamed"


def dot_then_rename(plan: Plan, one: Account) -> str:
    """``.name``, then ``name``."""
    return renamed(one, names(plan, one), lambda path: path.with_name(f".{path.name}"))


def tmp_then_rename(plan: Plan, one: Account) -> str:
    """``name.tmp``, then ``name``; some over a delivered file."""
    fresh = names(plan, one)
    old = [path for path in sorted(one.noted) if (one.hot / path).is_file()]
    return renamed(
        one, fresh + one.chance.sample(old, min(2, len(old))), lambda path: path.with_name(f"{path.name}.tmp")
    )


def rsync(plan: Plan, one: Account) -> str:
    """``rsync -a`` into the directory, then again with changes."""
    paths, source = names(plan, one), one.aside / f"rsync{one.rounds}"
    for share in (paths, paths[: FILES // 2]):
        for path in share:
            data = some(one)
            one.note(path, data)
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        command = [find_command("rsync", "rsync"), "-a", "--checksum", f"{source}/", f"{one.hot}/"]
        subprocess.run(command, check=True)
    return f"{len(paths)} files, {FILES // 2} of them again"


def editors(plan: Plan, one: Account) -> str:
    """Editors save over delivered files: by a hidden file, by moving the old one away, and in place."""
    hidden, moved, in_place = paths = names(plan, one, 3)
    one.put_all({path: some(one) for path in paths})
    one.settled()
    for path in paths * 2:
        old, data, final = (one.hot / path).read_bytes(), some(one) + b"saved", one.hot / path
        one.note(path, data)
        if path == hidden:
            final.with_name(".goutputstream-X").write_bytes(data)
            final.with_name(".goutputstream-X").rename(final)
        elif path == moved:
            one.note_maybe(f"{path}~", old)
            final.rename(f"{final}~")
            final.write_bytes(data)
            Path(f"{final}~").unlink()
        else:
            final.write_bytes(data)
        time.sleep(one.chance.uniform(0, 0.3))
    return f"{hidden} by a hidden file, {moved} by moving the old one away, {in_place} in place; each twice"


def slow_writer(plan: Plan, one: Account) -> str:
    """Somebody writes with pauses longer than files have to rest; nothing of it may be there before the end."""
    (path,) = names(plan, one, 1)
    data, early = one.chance.randbytes(300_000), 0
    with (one.hot / path).open("wb", buffering=0) as file:
        for number in range(5):
            file.write(data[number * 60_000 : (number + 1) * 60_000])
            time.sleep(one.slow)
            early += one.stored(path) is not None
        one.note(path, data)
    if early:
        one.witness.findings.append(f"F: {path} was there while it was being written")
    return f"{5 * one.slow:g} s of writing"


class Flight:
    """A large file some of which has arrived; that it becomes ``then`` is noted already."""

    def __init__(self, plan: Plan, one: Account, change: Callable[[bytes], bytes]) -> None:
        (self.path,) = names(plan, one, 1)
        self.one, self.data = one, one.chance.randbytes(LARGE[plan.mode])
        self.then = change(self.data)
        one.note(self.path, self.data)
        one.note(self.path, self.then)
        enough = one.bytes() + int(len(self.data) * one.chance.random() ** 2)
        self.file = one.place(self.path, self.data)
        end = time.monotonic() + 30
        while one.bytes() <= enough and time.monotonic() < end:
            time.sleep(0.005)

    def proof(self, what: str) -> str | None:
        """Say what was done, when the file had not arrived yet by then."""
        there = sum(file.stat().st_size for file in self.one.staged())
        arrived = (self.one.seen_at / self.path).exists()
        return None if arrived else f"{what} of {len(self.data)} bytes with {there} bytes staged"


def replaced_in_flight(plan: Plan, one: Account) -> str | None:
    """Another version is renamed over a file that is on its way."""
    flight = Flight(plan, one, lambda data: data[:100_000] + b"other")
    proof = flight.proof("replaced")
    one.place(flight.path, flight.then)
    return proof


def truncated_in_flight(plan: Plan, one: Account) -> str | None:
    """A file on its way is cut short in place."""
    size = one.chance.randrange(LARGE[plan.mode])
    flight = Flight(plan, one, lambda data: data[:size])
    with flight.file.open("r+b") as file:
        proof = flight.proof(f"cut to {size}")
        file.truncate(size)
    return proof


def patched_in_flight(plan: Plan, one: Account) -> str | None:
    """Some bytes of a file on its way are changed in place, and its time is set back."""
    at, patch = one.chance.randrange(LARGE[plan.mode] - 100), one.chance.randbytes(100)
    flight = Flight(plan, one, lambda data: data[:at] + patch + data[at + 100 :])
    seen = flight.file.stat()
    with flight.file.open("r+b") as file:
        proof = flight.proof(f"100 bytes at {at}")
        file.seek(at)
        file.write(patch)
    os.utime(flight.file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    return proof


def while_down(plan: Plan, one: Account) -> str:
    """Files appear and change while no agent is there."""
    one.agent.terminate()
    one.drop(4 * FILES, old=FILES)
    paths = names(plan, one, FILES)
    one.note_all(files := {path: some(one) for path in paths})
    for path, data in files.items():
        (one.hot / path).write_bytes(data)
    one.agent.start()
    return f"{6 * FILES} files while no agent was there"


def folders_moved_in(plan: Plan, one: Account) -> str:
    """A whole tree is renamed into the directory."""
    one.rounds += 1
    files = {f"r{one.rounds}/a/b{number % 3}/f{number}": some(one) for number in range(4 * FILES)}
    one.note_all(files)
    tree = one.aside / f"tree{one.rounds}"
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    (tree / f"r{one.rounds}").rename(one.hot / f"r{one.rounds}")
    return f"{len(files)} files in 4 folders at once"


def burst(plan: Plan, one: Account) -> int:
    """Drop many files within a moment, and wait less than a second."""
    files = {path: b"%d of this" % number for number, path in enumerate(names(plan, one, BURST[plan.mode]))}
    one.put_all(files)
    time.sleep(one.chance.uniform(0, 0.9))
    return len(one.missing())


def burst_killed(plan: Plan, one: Account) -> str | None:
    """The agent is killed within a second of a drop of many."""
    missing, code = burst(plan, one), one.kill_agent()
    one.agent.start()
    return f"exit {code}, {missing} of {BURST[plan.mode]} not there yet" if missing else None


def burst_stopped(plan: Plan, one: Account) -> str | None:
    """The agent is asked to end within a second of a drop of many."""
    missing, code = burst(plan, one), one.agent.terminate()
    one.agent.start()
    return f"exit {code}, {missing} of {BURST[plan.mode]} not there yet" if missing and code == 0 else None


def overflow(plan: Plan, one: Account) -> str | None:
    """So many files are renamed in at once that the queue of events runs over."""
    one.rounds += 1
    count, folder = MANY[plan.mode], one.hot / f"r{one.rounds}"
    folder.mkdir()
    files = {f"r{one.rounds}/f{number}": b"%d" % number for number in range(count)}
    one.note_all(files)
    ready = one.aside / "many"
    ready.mkdir(exist_ok=True)
    for path, data in files.items():
        (ready / path.rpartition("/")[2]).write_bytes(data)
    time.sleep(1.0)  # so that the new folder is watched
    listener = Overheard([folder])
    one.agent.signal(signal.SIGSTOP)
    for file in ready.iterdir():
        file.rename(folder / file.name)
    for number in range(max(2, int(LIMIT.read_text()) - count + 2)):
        os.close(os.open(folder / f".{number % 2}", os.O_WRONLY | os.O_CREAT))
    events, over = listener.count()
    listener.close()
    one.agent.signal(signal.SIGCONT)
    return f"{count} files renamed in, {events} events kept, queue ran over" if over else None


TRIES: dict[str, Callable[[Plan, Account], str | None]] = {
    "dot, then renamed": dot_then_rename,
    "tmp, then renamed": tmp_then_rename,
    "rsync": rsync,
    "editors": editors,
    "slow writer": slow_writer,
    "replaced in flight": replaced_in_flight,
    "truncated in flight": truncated_in_flight,
    "patched in flight": patched_in_flight,
    "while down": while_down,
    "folders moved in": folders_moved_in,
    "killed after a burst": burst_killed,
    "stopped after a burst": burst_stopped,
    "overflow": overflow,
}

ROW = Row(
    id="H3",
    title="hot directory behind ssh: drop idioms, slow or changing files, files while down, bursts, inotify overflow",
    must="L0 C0 D0 F0 S0 O0; nothing unfinished is ever there",
    run=run,
    ci=52,
    full=520,
    slice=13,
)
