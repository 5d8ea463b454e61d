"""Servers of the harness, as the rows use them: start, attach strace to one thread, kill, wait."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import TypeVar

from tests.faults.own import ROOT
from tests.faults.plan import Plan, Try
from tests.servers.dray import clean_environment
from tests.servers.process import LOOPBACK, ServerTrouble, answers, find_command, free_port, wait_until

T = TypeVar("T")

TRACER = 10.0
GONE = 30.0
"""Seconds in which a killed process must be gone."""


class Fork:
    """One ``dray`` command forked off the harness; it may be started again after it ended."""

    def __init__(self, nursery: "Nursery", base: Path, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.nursery, self.base, self.argv = nursery, base, list(argv)
        home = base / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.env = clean_environment(home, env)
        self.log = base / "dray.log"
        self.starts = 0
        self.pid: int | None = None

    @property
    def control(self) -> str:
        return str(self.base / f"c{self.starts}")

    def begin(self, hold: bool = False) -> None:
        """Start without waiting; ``hold`` keeps it from doing anything before its threads were asked for."""
        self.starts += 1
        order = {"argv": self.argv, "env": self.env, "log": str(self.log), "control": self.control, "hold": hold}
        self.pid = self.nursery.ask(order)["pid"]

    @property
    def alive(self) -> bool:
        """Say whether it runs; a child that was killed is a zombie until the harness has waited for it."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    def trouble(self) -> str | None:
        return None if self.alive else f"ended; log:\n{self.log.read_text()[-3000:]}"

    @contextmanager
    def threads(self) -> Iterator[dict[str, int]]:
        """Lend the threads by name; a command that was held goes on when they are given back."""
        with socket.socket(socket.AF_UNIX) as connection:
            wait_until(lambda: connection.connect_ex(self.control) == 0, 30, "the control socket", self.trouble)
            yield dict(json.loads(connection.makefile().readline()))

    @contextmanager
    def traced_from_start(self, options: list[str], log: Path) -> Iterator[None]:
        """Start with strace looking at it from its first call on; it goes on when this is entered."""
        self.begin(hold=True)
        with ExitStack() as stack:
            with self.threads():
                assert self.pid
                stack.enter_context(traced(self.pid, ["-f", *options], log))
            yield

    def wait(self, seconds: float = GONE) -> int:
        """Wait until it is gone and return its exit code, negative for a signal."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                raise ServerTrouble(f"{self.argv[0]} still runs after {seconds:.0f} s")
            time.sleep(0.005)
        self.pid = None
        return os.waitstatus_to_exitcode(self.nursery.answer()["ended"])

    def kill9(self) -> None:
        """Kill it, if it still runs, and wait until it is gone."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()


class Child(Fork):
    """One server; it keeps its data and port over restarts."""

    def __init__(self, nursery: "Nursery", base: Path, env: Mapping[str, str]) -> None:
        self.data, self.port = base / "data", free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        super().__init__(nursery, base, ["up", "--data", str(self.data), "--listen", f"{LOOPBACK}:{self.port}"], env)

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def ready(self, seconds: float = 60) -> None:
        """Wait until it answers."""
        wait_until(lambda: answers(self.port, "/health"), seconds, "the server", self.trouble)

    def start(self) -> None:
        """Start and wait until it answers."""
        self.begin()
        self.ready()

    def settle(self, seconds: float = 60) -> None:
        """Wait until it answers or is gone."""
        wait_until(lambda: not self.alive or answers(self.port, "/health"), seconds, "the server", lambda: None)

    def reap(self) -> None:
        """Sweep the data directory of this server, which must not run."""
        self.nursery.ask({"reap": str(self.data)})
        ended = self.nursery.answer()["ended"]
        if ended:
            raise ServerTrouble(f"the reaper ended with {ended}")

    def terminate(self, seconds: float = GONE) -> int:
        """End it in order."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(seconds)


class Nursery:
    """The harness process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.harness"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            self.answer()
        except ServerTrouble:
            self.close()
            raise

    def ask(self, order: object) -> dict[str, int]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ServerTrouble("the harness ended")
        found: dict[str, int] = json.loads(line)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def nurseries(count: int = 2) -> Iterator[list[Nursery]]:
    """Lend harnesses to be used side by side."""
    found = [Nursery() for _ in range(count)]
    try:
        yield found
    finally:
        for one in found:
            one.close()


def in_parallel(
    plan: Plan, found: Sequence[Nursery], things: Sequence[T], attempt: Callable[[Plan, Nursery, T, Path], Try]
) -> None:
    """Make a try of each thing, one in each harness at a time, each in a room of its own; record them in order."""
    free: Queue[Nursery] = Queue()
    for one in found:
        free.put(one)

    def attempted(mine: Nursery, thing: T, base: Path) -> Try:
        try:
            return attempt(plan, mine, thing, base)
        except Exception as error:
            return Try(str(thing), None, (f"broke: {error!r}", *traceback.format_exception(error)[-3:]))

    def make(number: int) -> Try:
        mine = free.get()
        try:
            with plan.room(number) as base:
                made = attempted(mine, things[number], base)
                plan.keep(base, made)
                return made
        finally:
            free.put(mine)

    with ThreadPoolExecutor(len(found)) as pool:
        for made in pool.map(make, range(len(things))):
            if made.proof or made.findings or plan.mode == "slice":
                plan.record(made.what, made.proof, made.findings)
            else:
                # Threads and commits shared the work otherwise, however often it was tried.
                plan.stated -= 1
                plan.add("points that did not come again, not counted", 1)


@contextmanager
def fork_of(found: Nursery, base: Path, argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Fork]:
    """Lend a command that is not started yet."""
    fork = Fork(found, base, argv, env)
    try:
        yield fork
    finally:
        fork.kill9()


@contextmanager
def child_of(found: Nursery, base: Path, env: Mapping[str, str]) -> Iterator[Child]:
    """Lend a server that is not started yet."""
    child = Child(found, base, env)
    try:
        yield child
    finally:
        child.kill9()


def end(tracer: "subprocess.Popen[str]") -> None:
    """Wait for a tracer that was told to end; now and then one waits for a thread that is dead already."""
    try:
        tracer.wait(TRACER)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


@contextmanager
def traced(process: int, options: list[str], log: Path) -> Iterator[None]:
    """Have strace look at a thread or process (with ``-f``: all threads) while this lasts, or until it is gone."""
    log.unlink(missing_ok=True)
    command = [find_command("strace", "strace"), "-y", "-s", "200", "-o", str(log), *options, "-p", str(process)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        if "attached" not in said:
            raise ServerTrouble(f"strace: {said}{tracer.stderr.read()}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        end(tracer)
        tracer.stderr.close()
