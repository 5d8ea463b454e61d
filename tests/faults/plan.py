"""What a row is, and the running of one: how often, with which seed, and what came of every try."""

import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FRUITLESS = 5
"""So many groups of tries without a fault end a row."""

Mode = Literal["slice", "ci", "full"]


@dataclass(frozen=True)
class Row:
    """One experiment of the scoreboard. ``ci`` and ``full`` are the tries it states; 0: the row counts its own points.

    ``run`` makes the tries and records each in the plan.
    """

    id: str
    title: str
    must: str
    run: Callable[["Plan"], None]
    ci: int
    full: int
    slice: int


@dataclass(frozen=True)
class Try:
    """One injected fault: what was tried, the proof that it fired (None: not proven), and every breach."""

    what: str
    proof: str | None
    findings: tuple[str, ...]


@dataclass
class Plan:
    """One run of one row. Every choice comes from ``chance`` and so from the one seed."""

    row: Row
    mode: Mode
    seed: int
    base: Path
    tries: list[Try] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    stated: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def count(self) -> int:
        """How many tries to make; a row of points makes ``count`` of them in a slice and states its own otherwise."""
        return {"slice": self.row.slice, "ci": self.row.ci, "full": self.row.full}[self.mode]

    @property
    def wanted(self) -> int:
        """How many tries make the row met."""
        return self.stated or (self.row.full if self.mode == "full" else self.row.ci)

    def chance(self, *names: object) -> random.Random:
        """Return the source of all choices of one part of the row."""
        return random.Random("/".join(map(str, (self.seed, self.row.id, *names))))

    def campaigns(self, most: int) -> Iterator[tuple[int, int]]:
        """Yield the number of a group of tries and how many it should make, until there are enough."""
        number = fruitless = 0
        while (left := self.count - len(self.tries)) > 0:
            before = len(self.tries)
            yield number, min(most, left)
            number, fruitless = number + 1, 0 if len(self.tries) > before else fruitless + 1
            if fruitless == FRUITLESS:
                raise RuntimeError(f"{FRUITLESS} groups of tries in which no fault could be injected")

    def record(self, what: str, proof: str | None, findings: Sequence[object] = ()) -> None:
        """Note one try."""
        self.tries.append(Try(what, proof, tuple(map(str, findings))))
        failed = "".join(f"\n    {finding}" for finding in self.tries[-1].findings)
        unproven = "" if proof else " (fault not proven)"
        print(f"  {self.row.id} {len(self.tries)}/{self.wanted} {what}: {proof or '-'}{unproven}{failed}", flush=True)

    def blame(self, findings: Sequence[object]) -> None:
        """Add what was found after a group of tries to the last of them."""
        if findings and not self.tries:
            self.record("before the first fault", None, findings)
        elif findings:
            last = self.tries.pop()
            self.record(last.what, last.proof, [*last.findings, *findings])

    def most(self, name: str, value: float) -> None:
        """Keep the largest value of a measure."""
        self.measures[name] = round(max(value, self.measures.get(name, value)), 2)

    def add(self, name: str, value: float) -> None:
        """Sum up a measure."""
        self.measures[name] = round(self.measures.get(name, 0) + value, 2)

    @contextmanager
    def room(self, name: object) -> Iterator[Path]:
        """Lend a directory of its own; it is kept when a try recorded meanwhile failed, or ``keep`` said so."""
        room = self.base / f"{self.row.id}-{name}"
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
        before = len(self.tries)
        yield room
        if not (room / KEEP).exists() and all(sound(one) for one in self.tries[before:]):
            shutil.rmtree(room, ignore_errors=True)

    def keep(self, room: Path, made: Try) -> None:
        """Keep a room when the try made in it failed."""
        if not sound(made):
            (room / KEEP).touch()


KEEP = "keep"


def sound(made: Try) -> bool:
    """Say whether a try is proven and found nothing."""
    return bool(made.proof) and not made.findings
