"""What every form of progress has in common: it counts, as the Report of a move, and says how it stands in words."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Literal

import msgspec

from dray.cli import format
from dray.cli.display import Display
from dray.cli.meter import Meter, Reading
from dray.clock import Clock
from dray.errors import DrayError, Retry, Unverified
from dray.model.names import RemotePath
from dray.model.values import Outcome
from dray.moving.report import Phase
from dray.telemetry import redact

PHASES = {"hash": "hashing", "send": "sending", "fetch": "fetching", "verify": "verifying", "publish": "publishing"}


Kind = Literal["moved", "already", "failed", "unverified", "skipped", "planned"]
"""How a name ended: besides what a mover says, sent without a verdict yet, left out, and what a dry run would move."""


class Cause(msgspec.Struct, frozen=True):
    """Why something failed; ``code`` is one of dray/errors.py."""

    code: str
    message: str
    item: str = ""
    hint: str = ""
    retry: Retry = "never"


class Progress(ABC):
    """A context manager that is also the Report of a move. Made by ``dray.cli.progress.choose``."""

    def __init__(self, title: str, display: Display, clock: Clock) -> None:
        self.display = display
        self.clock = clock
        self.meter = Meter(title, clock.monotonic())
        self._wiring = threading.Lock()

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

    def wire(self, nbytes: int) -> None:
        """Count bytes that went over the line; may be called from any thread."""
        with self._wiring:
            self.meter.wired(nbytes)

    def outcome(self, outcome: Outcome) -> None:
        """Count a file as done."""
        self.meter.ended(outcome.path, kind_of(outcome) == "failed", outcome.size)

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


def sentence(reading: Reading) -> str:
    """Return the state on one line."""
    return f"{reading.title}: {', '.join(part for part in (*amounts(reading), doing(reading)) if part)}"


def amounts(reading: Reading) -> list[str]:
    """Return how much is done, how fast, and how long still."""
    share = f"{100 * reading.bytes // reading.bytes_total} %" if reading.bytes_total else ""
    left = f"{format.duration(round(reading.left))} left" if reading.left is not None else ""
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


class OutcomeEvent(msgspec.Struct, frozen=True):
    """How one file ended."""

    path: str
    kind: Kind
    size: int
    checksum: str | None
    error: Cause | None


def outcome_event(outcome: Outcome) -> OutcomeEvent:
    """Return an outcome as it is printed."""
    checksum = str(outcome.checksum) if outcome.checksum else None
    return OutcomeEvent(str(outcome.path), kind_of(outcome), outcome.size, checksum, cause(outcome.error))


def kind_of(outcome: Outcome) -> Kind:
    """Return how a file ended, what only lacks the verdict apart from what failed."""
    return "unverified" if isinstance(outcome.error, Unverified) else outcome.kind


def cause(error: Exception | None) -> Cause | None:
    """Return an error as it is printed."""
    if isinstance(error, DrayError):
        return Cause(error.code, error.message, error.item, error.hint, error.retry)
    return Cause("unexpected", redact(repr(error))) if error else None
