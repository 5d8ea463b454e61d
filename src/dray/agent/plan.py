"""What a run would do, found by doing it on a copy of the journal: the exact plan of ``dray watch --dry-run``."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dray.agent.journal import Journal, snapshot
from dray.agent.scan import Scan
from dray.agent.watch import HotDirectory, begin
from dray.clock import Clock
from dray.model.settle import Policy
from dray.model.values import Value

Action = Literal["send", "wait", "skip", "refuse"]
ACTIONS: dict[str, Action] = {"queued": "send", "settling": "wait", "skipped": "skip", "refused": "refuse"}


class Planned(Value, frozen=True):
    """One name of the hot directory: what would be done with it, and why; ``to`` is its path in the dataset."""

    action: Action
    path: str
    size: int
    reason: str
    to: str


def plan(hot: HotDirectory, clock: Clock) -> Iterator[Planned]:
    """Yield what a run that begins now would send, wait for and leave out, in this order; nothing is changed. Blocks.

    Files count as having rested, since a run would wait for that.
    """
    rested = Policy(0.0, done_file=hot.policy.done_file)
    with tempfile.TemporaryDirectory(prefix="dray-plan-") as scratch, hot.opened() as root:
        copy = Path(scratch) / "journal.sqlite"
        snapshot(hot.journal, copy)
        looker = replace(hot, policy=rested).looker(root, clock)
        with closing(Journal(copy)) as journal, journal.transaction():
            begin(journal, hot, clock)
            scan = Scan(looker, lambda folder: None)
            while not scan.step(journal):
                pass
            for state, action in ACTIONS.items():
                for one in journal.in_state(state):
                    to = looker.remote(one.key, one.mtime_ns) if action in ("send", "wait") else ""
                    yield Planned(action, one.key.path, one.size, one.reason, to)
