"""Clears away what is left over, again and again."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dray.clock import Clock
from dray.core.sweep import BATCH, Sweep
from dray.core.uploads import UploadTarget
from dray.errors import DrayError
from dray.model.queue import SweepTask, Work
from dray.model.values import Landing, OnExists
from dray.transports.base import Failure
from dray.work.steps import Claim, Place, Step

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rounds:
    """How often the sweep comes round, and how old staged bytes of unknown uploads have to be; seconds."""

    every: float = 300.0
    orphans: float = 86400.0


class SweepHandler:
    """Fails abandoned uploads, removes staged bytes that nobody needs, deletes old rows."""

    def __init__(self, place: Place, sweep: Sweep, clock: Clock, rounds: Rounds | None = None) -> None:
        self._place = place
        self._sweep = sweep
        self._clock = clock
        self._rounds = rounds or Rounds()

    async def step(self, claim: Claim) -> Sequence[Step]:
        """Go round once and come back later, whatever happened: there is no other sweep."""
        try:
            task = await self._round()
            reason = f"comes round every {self._rounds.every:g} s"
        except DrayError as error:
            LOG.warning("the sweep got no further: %s", error)
            task, reason = None, str(error)
        return [Step(work.job, again=self._rounds.every, reason=reason, task=task) for work in claim.works]

    async def give_up(self, work: Work, error: DrayError) -> None:
        """Leave everything to the next round."""

    async def _round(self) -> SweepTask:
        failed = 0
        while number := await self._sweep.fail_abandoned():
            failed += number
        await self._sweep.tend()
        removed = await self._remove_leftovers() + await self._remove_orphans()
        return SweepTask(removed, failed, await self._sweep.prune())

    async def _remove_leftovers(self) -> int:
        """Remove the staged bytes of uploads that ended without being accepted."""
        removed, after = 0, 0
        while targets := await self._sweep.leftovers(after):
            cleared = await self._remove(targets)
            await self._sweep.cleared(cleared)
            removed, after = removed + len(cleared), targets[-1].upload
            if len(targets) < BATCH:
                break
        return removed

    async def _remove(self, targets: Sequence[UploadTarget]) -> list[int]:
        """Remove what is staged for uploads; return those for which nothing is any more."""
        landings = [_leaving(target) for target in targets]
        staged = await self._place.session.stage(landings)
        refs = [one.ref for one in staged if not isinstance(one, DrayError)]
        answers = iter(await self._place.session.remove(refs) if refs else [])
        gone = [one if isinstance(one, DrayError) else next(answers) for one in staged]
        return [target.upload for target, failure in zip(targets, gone, strict=True) if not _remains(target, failure)]

    async def _remove_orphans(self) -> int:
        """Remove staged bytes that belong to no upload that may still need them."""
        if self._place.attic is None:
            return 0
        names = await self._place.attic.leftovers(self._clock.wall() - self._rounds.orphans)
        orphans = await self._sweep.orphans(names) if names else []
        if orphans:
            LOG.info("%d staged files belong to no upload and are removed", len(orphans))
            await self._place.attic.discard(orphans)
        return len(orphans)


def _leaving(target: UploadTarget) -> Landing:
    """Return the landing that names what is staged, whatever has the final name by now.

    Without a checksum no final file is taken for this one, and none stands against it.
    """
    on_exists: OnExists = "version" if target.on_exists == "fail" else target.on_exists
    return msgspec.structs.replace(target.landing(), checksum=None, on_exists=on_exists)


def _remains(target: UploadTarget, failure: Failure | None) -> bool:
    """Say whether staged bytes may still be there: what cannot be staged any more leaves nothing behind."""
    if failure is not None:
        LOG.warning("what was staged for upload %d is not removed: %s", target.upload, failure)
    return failure is not None and failure.retry == "later"
