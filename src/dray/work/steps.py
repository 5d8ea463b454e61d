"""What job handlers get and give: places with their bytes, the claim they work under, how a step ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dray.errors import Busy, DrayError
from dray.model.queue import Task, Work
from dray.model.values import Ref, Value
from dray.transports.base import Session


class Attic(Protocol):
    """What a store can say of staged bytes by their names, for those that belong to no upload."""

    async def leftovers(self, before: float) -> Sequence[str]:
        """Return the names (see ``model.names.staged_name``) of what is staged and untouched since ``before``."""

    async def discard(self, names: Sequence[str]) -> None:
        """Remove what is staged under these names; a thing that is not there is removed already."""


@dataclass(frozen=True)
class Place:
    """A store with its open session. ``published`` names a published file by path and tag for that session."""

    name: str
    session: Session
    published: Callable[[str, str], Ref]
    attic: Attic | None = None


class Step(Value, frozen=True):
    """How one step of a job ended: done, failed (``error``), or to be gone on with after ``again`` seconds.

    ``task`` is what the job is from now on: what is left to do, or the result.
    """

    job: int
    error: DrayError | None = None
    again: float | None = None
    reason: str = ""
    task: Task | None = None


@dataclass
class Claim:
    """Jobs that are worked on together, and until when (monotonic) nobody else may have them."""

    works: Sequence[Work]
    until: float
    monotonic: Callable[[], float]
    lost: set[int] = field(default_factory=set)

    def check(self) -> None:
        """Raise Busy when one of the jobs may be somebody else's by now; asked before an effect that others see."""
        if self.lost or self.monotonic() >= self.until:
            raise Busy("the claim on this job ran out while it was worked on", hint="its new holder goes on")


class Handler(Protocol):
    """Does one step of each job of one kind. A failure it raises is the failure of all of them."""

    async def step(self, claim: Claim) -> Sequence[Step]:
        """Work on the jobs of ``claim`` and return one step for each."""

    async def give_up(self, work: Work, error: DrayError) -> None:
        """Leave nothing waiting for a job that is tried no more."""
