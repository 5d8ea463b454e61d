"""Time whole processes from outside: wall seconds, CPU seconds, peak memory, with a time limit."""

import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 120.0
"""Seconds after which a peer is stopped; its rate over what it did by then is reported, marked so."""

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run of one command. ``share`` is the part of the work that was done (1 unless it was stopped)."""

    wall: float
    client_cpu: float
    server_cpu: float
    peak: int
    share: float = 1.0


@dataclass(frozen=True)
class Summary:
    """Medians over the runs of one candidate; ``amount`` is bytes or files in one run."""

    name: str
    amount: float
    runs: tuple[Run, ...]

    def median(self, pick: Callable[[Run], float]) -> float:
        return statistics.median(pick(run) for run in self.runs)

    @property
    def rate(self) -> float:
        """Return the amount done per second of wall time."""
        return self.amount * self.median(lambda run: run.share / run.wall)

    @property
    def stopped(self) -> bool:
        return any(run.share < 1 for run in self.runs)


def cpu_of(pids: Sequence[int]) -> float:
    """Return the CPU seconds that these processes and their waited-for children have used so far.

    One that has ended meanwhile counts among the children of its parent.
    """
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(value) for value in fields[11:15])
    return total / TICK


def tree_of(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree_of(int(child))
    return found


def run(
    command: Sequence[str],
    *,
    servers: Sequence[int] = (),
    done: Callable[[], float] | None = None,
    env: dict[str, str] | None = None,
    limit: float = LIMIT,
) -> Run:
    """Run a command to its end, or stop it at the limit and ask ``done`` which share of the work is there."""
    pids = [pid for server in servers for pid in tree_of(server)]
    before = cpu_of(pids)
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 env={**os.environ, **(env or {})}, start_new_session=True)  # fmt: skip
        usage, status, stopped = _wait(child, start + limit)
        wall = time.monotonic() - start
        out.seek(0)
        output = out.read().decode(errors="replace")
    if not stopped and status != 0:
        raise RuntimeError(f"{' '.join(command[:6])} ended with {status}:\n{output[-2000:]}")
    share = 1.0 if not stopped or done is None else done()
    cpu = usage.ru_utime + usage.ru_stime
    return Run(wall, cpu, cpu_of(pids) - before, usage.ru_maxrss * 1024, share)


def _wait(child: "subprocess.Popen[bytes]", deadline: float):  # type: ignore[no-untyped-def]
    stopped = False
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage, child.returncode, stopped
        if time.monotonic() > deadline and not stopped:
            stopped = True
            os.killpg(child.pid, signal.SIGKILL)
        time.sleep(0.005)


def alternate(candidates: "Sequence[Candidate]", rounds: int, say: Callable[[str], None]) -> list[Summary]:
    """Run the candidates in turn, A B C A B C ..., and summarise each."""
    runs: dict[str, list[Run]] = {candidate.name: [] for candidate in candidates}
    for number in range(1, rounds + 1):
        for candidate in candidates:
            result = candidate.once()
            runs[candidate.name].append(result)
            mark = "" if result.share == 1 else " (stopped)"
            say(f"  {number}/{rounds} {candidate.name:42} {result.wall:8.2f} s{mark}")
    return [Summary(candidate.name, candidate.amount, tuple(runs[candidate.name])) for candidate in candidates]


@dataclass(frozen=True)
class Candidate:
    """One way to do the work of a case; ``once`` cleans up after the run before, then does the work once, timed."""

    name: str
    amount: float
    once: Callable[[], Run]
