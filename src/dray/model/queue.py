"""Queued work: what a job is asked to do, how one step of it ended, and the queue between them."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from dray.model.values import Value


class VerifyTask(Value, frozen=True, tag="verify"):
    """Verify and publish these uploads, which have so many bytes together."""

    uploads: tuple[int, ...]
    bytes: int = 0


class ScrubTask(Value, frozen=True, tag="scrub"):
    """Read all copies again (of one dataset); ``after`` is the last copy that was looked at."""

    dataset: str | None = None
    after: int = 0
    checked: int = 0
    bytes: int = 0
    corrupt: int = 0
    lost: int = 0
    repaired: int = 0
    unread: int = 0


class SweepTask(Value, frozen=True, tag="sweep"):
    """Remove leftovers and old rows; comes back by itself."""

    removed: int = 0
    failed: int = 0
    pruned: int = 0


Task = VerifyTask | ScrubTask | SweepTask
JobKind = Literal["verify", "scrub", "sweep"]


class Work(Value, frozen=True):
    """A claimed job. ``attempt`` fences it: what an older attempt settles changes nothing.

    ``failures`` and ``first_failed_at`` (None: never) count since the last step that got anywhere.
    """

    job: int
    attempt: int
    task: Task
    failures: int = 0
    first_failed_at: float | None = None

    @property
    def kind(self) -> str:
        """Return what kind of work this is."""
        return str(type(self.task).__struct_config__.tag)


class Settlement(Value, frozen=True):
    """How a step of a claimed job ended.

    ``waiting`` comes back after ``delay`` seconds for ``reason``; ``failed`` says whether the step got nowhere.
    ``task`` is what to do then (None: the same); for ``done`` it holds the result.
    """

    job: int
    attempt: int
    state: Literal["done", "waiting", "dead"]
    reason: str = ""
    delay: float = 0.0
    failed: bool = False
    task: Task | None = None


class Queue(Protocol):
    """Where work waits. All calls may be repeated; a claim that nobody renews is given to somebody else."""

    async def claim(self, holder: str, limit: int) -> Sequence[Work]:
        """Take up to ``limit`` due jobs for ``holder``, a fair share from everybody who has some waiting."""

    async def renew(self, works: Sequence[Work]) -> set[int]:
        """Hold claims for another lease and return the jobs that are still this holder's."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record how steps ended; those of a claim that was lost are ignored."""


def encode(task: Task) -> str:
    """Return the text a task is stored as."""
    return msgspec.json.encode(task).decode()


def decode(text: str) -> Task:
    """Read a stored task."""
    task: Task = msgspec.json.decode(text, type=Task)
    return task
