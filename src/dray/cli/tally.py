"""How a command that moves files ended: its rows, its summary by cause, its exit code."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from dray.cli import format
from dray.cli.display import Column, Display, Listing
from dray.cli.exits import OK, PARTIAL
from dray.cli.gauge import Cause, Kind, OutcomeEvent, Progress, outcome_event
from dray.errors import error_classes
from dray.model.values import Outcome
from dray.moving.item import Item
from dray.moving.walk import Skipped

COLUMNS = (
    Column("what", "kind"),
    Column("path", "path"),
    Column("why", lambda row: row.error.message if row.error else None),
    Column("next step", lambda row: row.error.hint or None if row.error else None),
)


class Summary(msgspec.Struct, frozen=True):
    """How many files ended how; ``filtered`` were left out by rules, ``causes`` counts why others failed."""

    moved: int = 0
    already: int = 0
    unverified: int = 0
    failed: int = 0
    skipped: int = 0
    filtered: int = 0
    planned: int = 0
    bytes: int = 0
    causes: dict[str, int] = {}


class Tally:
    """The audience of a move: counts, shows what needs somebody's attention, and passes everything to the progress.

    ``thorough`` shows a person every name; without ``waits``, files whose verdict nobody waited for are no news.
    """

    def __init__(
        self, display: Display, listing: Listing, progress: Progress, *, thorough: bool = False, waits: bool = True
    ) -> None:
        self._thorough = thorough
        self._waits = waits
        self._display = display
        self._listing = listing
        self._progress = progress
        self.expect, self.phase, self.moved = progress.expect, progress.phase, progress.moved
        self._kinds: Counter[Kind] = Counter()
        self._causes: Counter[str] = Counter()
        self._filtered = 0
        self._bytes = 0
        self.codes: set[int] = set()

    def outcome(self, outcome: Outcome) -> None:
        """Count a file and show it, unless all is well and a person reads."""
        self._progress.outcome(outcome)
        event = outcome_event(outcome)
        self._count(event)
        if outcome.error is None:
            self._bytes += outcome.size
        told = self._display.output == "jsonl" and not self._display.look.quiet  # the progress prints those
        news = event.error and (self._waits or event.kind != "unverified")
        if not told and (news or self._thorough or self._display.output != "text"):
            self._listing.add(event)

    def skipped(self, skipped: Skipped) -> None:
        """Count a name that is left out, and show it unless a rule of the user's did it."""
        event = OutcomeEvent(skipped.path, "skipped", 0, None, Cause(skipped.cause, skipped.reason))
        if skipped.cause != "filtered":
            self.row(event)
        else:
            self._filtered += 1
            if self._thorough:
                self._listing.add(event)

    def planned(self, items: Sequence[Item]) -> None:
        """Count and show what would be moved."""
        for item in items:
            self._bytes += item.size
            self.row(OutcomeEvent(item.path, "planned", item.size, None, None))

    def row(self, event: OutcomeEvent) -> None:
        """Count and show one name."""
        self._count(event)
        self._listing.add(event)

    def _count(self, event: OutcomeEvent) -> None:
        self._kinds[event.kind] += 1
        if event.error:
            self._causes[event.error.code] += 1
            self.codes.add(exit_of(event.error.code))

    def summary(self) -> Summary:
        """Return the sums."""
        kinds = {str(kind): count for kind, count in self._kinds.items()}
        return Summary(**kinds, filtered=self._filtered, bytes=self._bytes, causes=dict(self._causes))


def exit_of(code: str) -> int:
    """Return the exit code of a cause; names that are left out make the whole partial."""
    kind = error_classes().get(code)
    return kind.exit_code if kind else PARTIAL


def exit_code(summary: Summary, codes: set[int], *, wait: bool = True) -> int:
    """Return how the command ends: one cause for everything is its own code, some done and others not is partial."""
    good = summary.moved + summary.already + (0 if wait else summary.unverified)
    bad = summary.failed + summary.skipped + (summary.unverified if wait else 0)
    if not bad:
        return OK
    return PARTIAL if good or len(codes) != 1 else next(iter(codes))


def sentence(verb: str, summary: Summary) -> str:
    """Return the summary in words."""
    parts = [
        f"{format.count(summary.moved, 'file')} {verb} and verified" if summary.moved else "",
        f"{format.count(summary.planned, 'file')} would be {verb}" if summary.planned else "",
        f"{summary.already:,} there already" if summary.already else "",
        f"{summary.unverified:,} {verb}, not verified yet" if summary.unverified else "",
        f"{summary.failed:,} failed" if summary.failed else "",
        f"{summary.skipped:,} skipped" if summary.skipped else "",
        f"{summary.filtered:,} left out by rules" if summary.filtered else "",
    ]
    causes = ", ".join(f"{code} {count:,}" for code, count in sorted(summary.causes.items()))
    said = ", ".join(filter(None, parts)) or "nothing to do"
    return f"{said}; {format.size(summary.bytes)}{f' ({causes})' if causes else ''}"
