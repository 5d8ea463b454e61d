"""How ``dray watch`` tells what it does: progress while something moves, each trouble at once, the whole at the end."""

import re
from types import TracebackType

import msgspec

from dray.agent.agent import Summary
from dray.agent.journal import Standing
from dray.cli import format
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import INTEGRITY, OK, PARTIAL, TEMPORARY
from dray.cli.gauge import Progress
from dray.model.names import RemotePath
from dray.model.values import Outcome
from dray.moving.report import Phase

COLUMNS = (
    Column("state", "state"),
    Column("files", lambda one: f"{one.files:,}", right=True),
    Column("size", lambda one: format.size(one.bytes), right=True),
    Column("why", lambda one: one.reason or None),
    Column("for example", "example"),
)
FINE = frozenset(("delivered", "skipped", "gone"))
"""States that need nobody's attention."""


class Stood(msgspec.Struct, frozen=True):
    """How many files of a hot directory are in one state for one reason, one of them as an example.

    delivered, settling (not finished yet), queued (waits to be sent), failed, skipped (by a rule), refused (cannot be
    sent as it is), gone (not in the directory any more).
    """

    state: str
    reason: str
    files: int
    bytes: int
    example: str


class Totals(msgspec.Struct, frozen=True):
    """What a run did: files and bytes that arrived now, files that failed, and files that still need attention."""

    arrived: int
    bytes: int
    failed: int
    attention: int


class Foreground:
    """Listens to an agent. A context manager."""

    def __init__(self, app: App, title: str) -> None:
        self._app, self._title = app, title
        self._progress: Progress | None = None
        self._reason = ""
        self._burst = (0, 0)
        self.arrived = self.bytes = self.failed = 0
        self._codes: set[int] = set()

    def __enter__(self) -> "Foreground":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.idle()

    def expect(self, files: int, nbytes: int) -> None:
        """Begin to show progress when there is something to send."""
        if files and self._progress is None:
            self._progress = self._app.progress(self._title)
            self._progress.start()
            self._burst = (self.arrived, self.bytes)
        if self._progress is not None:
            self._progress.expect(files, nbytes)

    def waiting(self, reason: str) -> None:
        """Say once why nothing moves; figures in it are no news."""
        if self._progress is not None:
            self._progress.waiting(reason)
        cause = re.sub(r"\d+", "", reason)
        if cause != self._reason:
            self._app.display.note(f"waiting: {reason}")
        self._reason = cause

    def say(self, text: str) -> None:
        """Tell something in words."""
        self._app.display.note(text)

    def watching(self) -> None:
        """See ``Show``: nothing is shown of it."""

    def stands(self, standing: Standing) -> None:
        """See ``Show``: nothing is shown of it."""

    def phase(self, path: RemotePath, phase: Phase) -> None:
        """Pass it on."""
        if self._progress is not None:
            self._progress.phase(path, phase)

    def moved(self, path: RemotePath, nbytes: int) -> None:
        """Pass it on; bytes that move end a wait."""
        self._reason = ""
        if self._progress is not None:
            self._progress.moved(path, nbytes)

    def outcome(self, outcome: Outcome) -> None:
        """Count a file, and tell of one that failed."""
        if self._progress is not None:
            self._progress.outcome(outcome)
        if outcome.error is None:
            self.arrived, self.bytes = self.arrived + 1, self.bytes + outcome.size
        else:
            self.failed += 1
            self._codes.add(getattr(outcome.error, "exit_code", 1))
            self._app.display.warn(str(outcome.error))

    def idle(self) -> None:
        """End the progress until there is something to send again."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            files, nbytes = self.arrived - self._burst[0], self.bytes - self._burst[1]
            self._app.display.note(f"{format.count(files, 'file')} sent and verified, {format.size(nbytes)}")

    def tell(self, summary: Summary) -> int:
        """Show how it stands and return the exit code."""
        self.idle()
        stood = [Stood(t.state, t.reason, t.files, t.bytes, t.example.path) for t in summary.tallies]
        with self._app.display.listing("hot.files", COLUMNS, "the directory is empty") as listing:
            for one in stood:
                listing.add(one)
            attention = [one for one in stood if one.state not in FINE]
            listing.summary(Totals(self.arrived, self.bytes, self.failed, sum(one.files for one in attention)))
        if summary.trouble is not None:
            self._codes.add(summary.trouble.exit_code)
            self._app.display.warn(str(summary.trouble))
        elif any(one.state == "queued" for one in attention):
            self._codes.add(TEMPORARY)
        return self._exit_code({one.state for one in attention})

    def _exit_code(self, states: set[str]) -> int:
        """Return one code for everything where nothing arrived, else that some did not; damage is always told."""
        if not states:
            return OK
        codes = self._codes | ({PARTIAL} if states - {"failed", "queued"} else set())
        if INTEGRITY in codes:
            return INTEGRITY
        return codes.pop() if len(codes) == 1 and not self.arrived else PARTIAL
