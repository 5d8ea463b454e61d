"""Starting, stopping and asking the agent of this user: what the commands about it share."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from dray.agent import process
from dray.agent.control import Control
from dray.cli.context import App
from dray.clock import Clock
from dray.errors import Conflict, NotFound, Temporary
from dray.model.agent import AgentStatus, Record, Wanted
from dray.wiring.control import control
from dray.wiring.service import installed, program

NONE = 'write three lines: [hot.lab], path = "~/to_cluster", to = "sftp://cluster/in"; `dray config path` says where'
"""What to do where nothing is configured."""

HANGS = 60.0
"""Seconds without a sign of life after which an agent counts as hanging."""

READY = 30.0
STOPS = 30.0
"""Seconds that an agent may take to end what is on its way, before it is killed: the next one goes on from there."""

PAUSE = 0.1


class Daemon:
    """The agent of this user, whether it runs or not."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.control: Control = control()

    def known(self, names: Sequence[str]) -> list[str]:
        """Return the hot directories that are meant, all for none; raises NotFound for what is not configured."""
        configured = list(self._app.settings.hot)
        if not configured:
            raise NotFound("no hot directory is configured", hint=NONE)
        for name in names:
            if name not in configured:
                hint = f"there are: {', '.join(configured) or 'none'}"
                raise NotFound("no such hot directory", item=name, hint=hint)
        return list(names) or configured

    def status(self) -> AgentStatus | None:
        """Return what a living agent says of itself, None where none lives or it has said nothing yet."""
        if not self.control.is_held():
            return None
        status, record = self.control.status(), self.control.record()
        return status if status is not None and record is not None and status.pid == record.pid else None

    def want(self, work: Callable[[Wanted], Wanted]) -> Wanted:
        """Change what is wanted; an agent acts on it within a second."""
        return self.control.change(work)

    def start(self) -> None:
        """Start the agent in the background, and wait until it watches."""
        service = installed()
        if service is not None:
            service.control("start", service.path.name)
        else:
            self._launch()
        self._app.display.note("the agent runs")

    def _launch(self) -> None:
        command = [*program(), *self._options(), "start", "--foreground", "--detached"]
        self.control.prepare()
        with self.control.folder.joinpath("start.log").open("wb") as said:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, cwd="/"
            )
        wait(lambda: child.poll() is not None or self._watches(), READY)
        if child.poll() is not None:
            lines = self.control.folder.joinpath("start.log").read_text("utf-8", "replace").split("\n")
            why = "; ".join(line.strip() for line in lines if line.strip()) or "it says nothing"
            raise Temporary(f"the agent did not start: {why}", hint="see dray log, or try dray start --foreground")
        # It goes on without us; what remembers it here would complain about a child that nobody waited for.
        child.returncode = 0

    def _watches(self) -> bool:
        found = self.status()
        return found is not None and bool(found.hot) and all(one.state != "starting" for one in found.hot)

    def _options(self) -> list[str]:
        """Return the options that were given here, for the agent."""
        choices = self._app.choices
        named = self._app.environ.get("DRAY_CONFIG") or choices.config
        flags = {"--config": str(Path(named).expanduser().absolute()) if named else None, "--url": choices.url}
        flags |= {"--token-file": choices.token_file, "--log-format": choices.log_format}
        return [word for flag, value in flags.items() if value for word in (flag, value)]

    def stop(self, seconds: float = STOPS) -> str:
        """End the agent: in peace, or by force when that takes too long; say how it ended."""
        record = self.control.record()
        if not self.control.is_held() or record is None:
            return "no agent was running"
        service = installed()
        if record.service and service is None:
            raise Conflict("a service manager looks after the agent", hint="stop its unit, or it is started again")
        if record.service and service is not None:
            service.control("stop", service.path.name)
        else:
            self._signal(record, signal.SIGTERM)
        if wait(lambda: not self.control.is_held(), seconds):
            return "the agent ended"
        self.kill()
        return "the agent was killed; nothing is lost by that"

    def kill(self) -> None:
        """End the agent by force."""
        record = self.control.record()
        if record is not None:
            self._signal(record, process.KILL)
        if not wait(lambda: not self.control.is_held(), STOPS):
            raise Temporary("the agent cannot be killed", item=f"process {record.pid if record else '?'}")

    def _signal(self, record: Record, number: int) -> None:
        """Signal the very process of a record; its number may be somebody else's by now."""
        if not process.send(record, number) and self.control.is_held():
            raise Conflict("an agent lives, but not as this process", item=f"process {record.pid}", hint="see ps -ef")

    def reached(self, names: Iterable[str], good: Callable[[str], bool], seconds: float = READY) -> bool:
        """Wait until the states of hot directories are what was asked for; say whether they are."""

        def all_good() -> bool:
            found = self.status()
            return found is None or all(good(one.state) for one in found.hot if one.name in set(names))

        return wait(all_good, seconds)

    def hangs(self, clock: Clock) -> bool:
        """Say whether the agent lives but gives no sign of it, even while looked at: the machine may have slept."""
        if not self.control.is_held():
            return False
        first = self.control.status()
        if first is not None and clock.wall() - first.at < HANGS:
            return False
        return not wait(lambda: self.control.status() != first, HANGS / 4)

    def end_strays(self) -> list[int]:
        """End the processes that a dead agent left behind."""
        record = self.control.record()
        agent = record.pid if record is not None and self.control.is_held() else 0
        found = process.strays(self.control.folder, agent)
        for pid in found:
            process.end(pid)
        return found


def stopped(names: Iterable[str]) -> Callable[[Wanted], Wanted]:
    """Add names to those that do not run."""
    return lambda wanted: msgspec.structs.replace(wanted, stopped=tuple(sorted({*wanted.stopped, *names})))


def started(names: Iterable[str]) -> Callable[[Wanted], Wanted]:
    """Let names run, and the agent."""
    return lambda wanted: msgspec.structs.replace(
        wanted, running=True, stopped=tuple(sorted(set(wanted.stopped) - set(names)))
    )


def wait(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for something; say whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE)
    return True
