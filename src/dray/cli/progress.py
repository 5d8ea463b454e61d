"""Shows how a move goes: bars on a terminal, lines elsewhere, events with --jsonl, nothing with -q."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType

from dray.cli import format
from dray.cli.display import Display, plain
from dray.cli.meter import Meter, Reading
from dray.clock import Clock, SystemClock
from dray.model.names import RemotePath
from dray.model.values import Outcome
from dray.moving.report import Phase

BEAT = 2.0
"""Seconds between two signs of life where there is no terminal."""

PHASES = {"hash": "hashing", "send": "sending", "fetch": "fetching", "verify": "verifying", "publish": "publishing"}


class Progress(ABC):
    """A context manager that is also the Report of a move. Made by ``choose``."""

    def __init__(self, title: str, display: Display, clock: Clock) -> None:
        self.display = display
        self.clock = clock
        self.meter = Meter(title, clock.monotonic())

    def expect(self, files: int, nbytes: int) -> None:
        """Add files and bytes to what is to be done; called as often as more is found."""
        self.meter.expect(files, nbytes)

    def waiting(self, reason: str) -> None:
        """Say why nothing moves, until bytes move again."""
        self.meter.waiting = reason

    def phase(self, path: RemotePath, phase: Phase) -> None:
        """Say what is being done with a file from now on."""
        self.meter.phase(path, phase)

    def moved(self, path: RemotePath, nbytes: int) -> None:
        """Count receipted bytes of a file."""
        self.meter.moved(path, nbytes)

    def outcome(self, outcome: Outcome) -> None:
        """Count a file as done."""
        self.meter.ended(outcome.path, outcome.kind == "failed", outcome.size)

    def at(self, files: int, nbytes: int, failed: int = 0) -> None:
        """Say how much is done in all, for work that is counted elsewhere."""
        self.meter.files, self.meter.bytes, self.meter.failed = files, nbytes, failed

    def reading(self) -> Reading:
        """Return how it stands now."""
        return self.meter.read(self.clock.monotonic())

    def __enter__(self) -> "Progress":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Begin to show."""

    @abstractmethod
    def stop(self) -> None:
        """Show the last state and end."""


class Silent(Progress):
    """Shows nothing."""

    def start(self) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class Beating(Progress):
    """Says something every BEAT seconds from a thread of its own, also while the event loop is busy."""

    def __init__(self, title: str, display: Display, clock: Clock, beat: float = BEAT) -> None:
        super().__init__(title, display, clock)
        self._beat = beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="progress", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it was printing is printed."""
        self._ended.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._ended.wait(self._beat):
            self.say(self.reading())

    @abstractmethod
    def say(self, reading: Reading) -> None:
        """Print one sign of life."""


class Lines(Beating):
    """A line on stderr."""

    def say(self, reading: Reading) -> None:
        """Print one line."""
        self.display.note(sentence(reading))


class Events(Beating):
    """An event ``progress`` on stdout, and one ``file.outcome`` for each file as it ends."""

    def say(self, reading: Reading) -> None:
        """Print one event."""
        self.display.event("progress", reading)

    def outcome(self, outcome: Outcome) -> None:
        """Count the file and print its event."""
        super().outcome(outcome)
        self.display.event("file.outcome", outcome_plain(outcome))

    def stop(self) -> None:
        """End the thread and print the final state."""
        super().stop()
        self.say(self.reading())


def choose(title: str, display: Display, clock: Clock | None = None) -> Progress:
    """Return the form of progress that suits where the output goes."""
    clock = clock or SystemClock()
    if display.look.quiet:
        return Silent(title, display, clock)
    if display.output == "jsonl":
        return Events(title, display, clock)
    if display.look.moves:
        from dray.cli.bars import Bars

        return Bars(title, display, clock)
    return Lines(title, display, clock)


def sentence(reading: Reading) -> str:
    """Return the state on one line."""
    return f"{reading.title}: {', '.join(part for part in (*amounts(reading), doing(reading)) if part)}"


def amounts(reading: Reading) -> list[str]:
    """Return how much is done, how fast, and how long still."""
    share = f"{100 * reading.bytes // reading.bytes_total} %" if reading.bytes_total else ""
    left = f"{format.duration(reading.left)} left" if reading.left is not None else ""
    return [
        share,
        f"{format.size(reading.bytes)} of {format.size(reading.bytes_total)}",
        f"{reading.files:,} of {format.count(reading.files_total, 'file')}",
        f"{reading.failed:,} failed" if reading.failed else "",
        format.rate(reading.rate),
        left,
    ]


def doing(reading: Reading) -> str:
    """Return what is going on: the phases with their numbers, or why nothing moves."""
    if reading.waiting:
        return f"waiting: {reading.waiting}"
    return ", ".join(f"{PHASES.get(name, name)} {number:,}" for name, number in sorted(reading.phases.items()))


def outcome_plain(outcome: Outcome) -> dict[str, object]:
    """Return an outcome with its checksum as one text."""
    error = plain(outcome.error) if outcome.error else None
    return {
        "path": str(outcome.path),
        "kind": outcome.kind,
        "size": outcome.size,
        "checksum": str(outcome.checksum) if outcome.checksum else None,
        "error": error,
    }
