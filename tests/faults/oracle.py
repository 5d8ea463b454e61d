"""Compares what was written with what is stored, shown and said: pure, so that it can be tested with lies.

| letter | name | fires when |
|---|---|---|
| L | lost | something reported received or verified is not in the store |
| C | corrupt | a verified row, or anything under a final name, has other bytes than a version the ledger knows |
| D | duplicate | more than one current row, more rows of a content than were written, an upload accepted twice |
| F | false | a surface said done or safe while the bytes were not there |
| S | stuck | a wanted file has no verified row; an upload waits without a reason and a next try |
| O | orphan | staged or stored bytes without a record after the reaper ran |
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.ledger import Written
from tests.faults.store import Stored, hashed, staged_name

LETTERS = "LCDFSO"
OPEN = ("pending", "uploaded")


class Shown(NamedTuple):
    """One file version as the catalogue shows it; ``sha256`` is what it claims, if anything."""

    key: str
    version_number: int
    size: int
    sha256: str | None
    state: str
    current: bool


class Upload(NamedTuple):
    """One upload as the API shows it in the end."""

    upload: int
    key: str
    state: str
    reason: str
    next_try: float | None


class Said(NamedTuple):
    """A surface said that a content is there for good; ``wrong`` is what the test's own reader found instead."""

    surface: str
    key: str
    sha256: str | None
    at: float
    wrong: str | None


@dataclass(frozen=True)
class Evidence:
    """Everything that is known after a run. ``wanted`` are the keys whose newest version must have arrived."""

    written: list[Written]
    stored: list[Stored] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    staged: list[str] = field(default_factory=list)
    wanted: frozenset[str] = frozenset()


class Finding(NamedTuple):
    """One breach of a promise."""

    letter: str
    text: str

    def __str__(self) -> str:
        return f"{self.letter}: {self.text}"


def judge(evidence: Evidence) -> list[Finding]:
    """Return every breach, the gravest letter first; none means L0 C0 D0 F0 S0 O0."""
    case = Case(evidence)
    found = [Finding(letter, text) for letter in LETTERS for text in case.find(letter)]
    return list(dict.fromkeys(found))


def summary(findings: list[Finding]) -> str:
    """Return the six letters with their counts."""
    count = Counter(finding.letter for finding in findings)
    return " ".join(f"{letter}{count[letter]}" for letter in LETTERS)


class Case:
    """The evidence, arranged for looking things up."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.written: dict[str, list[str]] = {}
        for version in evidence.written:
            self.written.setdefault(version.key, []).append(version.sha256)
        self.final = {s.key: s for s in evidence.stored if not s.kept}
        self.kept: dict[str, set[str]] = {}
        for stored in evidence.stored:
            if stored.kept:
                self.kept.setdefault(stored.key, set()).add(stored.sha256)
        self.verified = [row for row in evidence.shown if row.state == "verified"]

    def find(self, letter: str) -> Iterator[str]:
        """Yield the breaches of one letter."""
        look = {"L": self.lost, "C": self.corrupt, "D": self.duplicate}
        look |= {"F": self.false, "S": self.stuck, "O": self.orphan}
        return look[letter]()

    def holds(self, key: str, sha256: str) -> bool:
        """Say whether this content is stored for this key, as the current or an older version."""
        return sha256 in self.contents(key)

    def contents(self, key: str) -> set[str]:
        """Return what is stored for a key."""
        own = {self.final[key].sha256} if key in self.final else set()
        return own | self.kept.get(hashed(key), set())

    def lost(self) -> Iterator[str]:
        for row in self.verified:
            if not self.contents(row.key):
                yield f"{row.key} version {row.version_number} is shown verified, nothing is stored"
        for said in self.evidence.said:
            known = {said.sha256} if said.sha256 else set(self.written.get(said.key, ()))
            if known.isdisjoint(self.contents(said.key)):
                yield f"{said.key} was said to be there by {said.surface}, it is not stored"

    def corrupt(self) -> Iterator[str]:
        for row in self.verified:
            if row.sha256 not in self.written.get(row.key, ()):
                yield f"{row.key} version {row.version_number} is verified as {row.sha256}, nobody wrote that"
            elif self.contents(row.key) and not self.holds(row.key, row.sha256):
                yield f"{row.key} version {row.version_number} is verified, its bytes are different"
            elif row.current and row.key in self.final and self.final[row.key].sha256 != row.sha256:
                yield f"{row.key} shows version {row.version_number}, another content has the final name"
        for key, stored in self.final.items():
            if key in self.written and stored.sha256 not in self.written[key]:
                yield f"{key} has {stored.size} bytes under its final name that nobody wrote"

    def duplicate(self) -> Iterator[str]:
        for key, count in Counter(row.key for row in self.evidence.shown if row.current).items():
            if count > 1:
                yield f"{key} has {count} current versions"
        for (key, sha256), count in Counter((row.key, row.sha256) for row in self.verified).items():
            made = self.written.get(key, []).count(sha256 or "")
            if count > max(made, 1):
                yield f"{key} has {count} verified versions of a content that was written {made} times"
        for upload, count in Counter(self.evidence.accepted).items():
            if count > 1:
                yield f"upload {upload} was announced {count} times"

    def false(self) -> Iterator[str]:
        for said in self.evidence.said:
            if said.wrong is not None:
                yield f"{said.surface} said {said.key} is there, {said.wrong}"

    def stuck(self) -> Iterator[str]:
        newest = {row.key: row.sha256 for row in self.verified if row.current}
        for key in sorted(self.evidence.wanted):
            if newest.get(key) != self.written[key][-1]:
                yield f"{key} should be there by now, shown is {newest.get(key) or 'nothing verified'}"
        for upload in self.evidence.uploads:
            if upload.state in OPEN and not (upload.reason and upload.next_try):
                yield f"upload {upload.upload} of {upload.key} is {upload.state} without reason and next try"

    def orphan(self) -> Iterator[str]:
        waiting = {staged_name(upload.key, upload.upload) for upload in self.evidence.uploads if upload.state in OPEN}
        for name in self.evidence.staged:
            if name.removesuffix(".parts") not in waiting:
                yield f"{name} is left in the staging area"
        rows = {row.key for row in self.evidence.shown}
        yield from (f"{key} is stored without a record" for key in sorted(set(self.final) - rows))
        folders = {hashed(key) for key in rows}
        yield from (f"older content {folder} is kept without a record" for folder in sorted(set(self.kept) - folders))
