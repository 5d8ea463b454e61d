"""Sums verdicts of files up to verdicts of folders: a folder is safe when everything in it is."""

import os
from collections import Counter
from collections.abc import Iterator

from dray.model.values import Value
from dray.moving.safety import State, Verdict
from dray.moving.walk import Tree


class FolderVerdict(Value, frozen=True):
    """A folder: how many of its files, at any depth, are in which state."""

    path: str
    state: State
    files: int
    bytes: int
    states: dict[State, int]


WORST: tuple[State, ...] = ("damaged", "differs", "error", "unknown", "moving", "safe")
"""The order in which a state decides about its folder."""


class Rollup:
    """Counts verdicts of one tree by folder. What it tells grows with the folders, not with the files."""

    def __init__(self, tree: Tree) -> None:
        self._top = tree.root
        self._states: dict[str, Counter[State]] = {}
        self._bytes: Counter[str] = Counter()
        self._inside: dict[str, set[str]] = {}

    def add(self, verdict: Verdict) -> None:
        """Count one file in all folders it lies in."""
        folder = os.path.dirname(verdict.path.rstrip("/"))
        while len(folder) >= len(self._top):
            self._states.setdefault(folder, Counter())[verdict.state] += 1
            self._bytes[folder] += verdict.size
            if folder == self._top:
                return
            self._inside.setdefault(os.path.dirname(folder), set()).add(folder)
            folder = os.path.dirname(folder)

    def folders(self) -> Iterator[FolderVerdict]:
        """Yield the folders from the top down, but none below one that is safe as a whole."""
        todo = [self._top] if self._states else []
        while todo:
            folder = todo.pop()
            verdict = self._verdict(folder)
            yield verdict
            if verdict.state != "safe":
                todo += sorted(self._inside.get(folder, ()), reverse=True)

    def _verdict(self, folder: str) -> FolderVerdict:
        states = self._states[folder]
        worst = next(state for state in WORST if states[state])
        return FolderVerdict(folder, worst, states.total(), self._bytes[folder], dict(states))
