"""Brings uploads to a verdict."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dray.core.record import Records, Verdict
from dray.core.uploads import Uploads, UploadTarget
from dray.errors import DrayError, IntegrityFailure, NotFound
from dray.model.parts import plan_batches
from dray.model.queue import VerifyTask, Work
from dray.model.values import Claim as Said
from dray.model.values import Limits, Proof, Staged
from dray.model.verdict import compare
from dray.transports.base import Failure
from dray.work.steps import Claim, Place, Step

LOG = logging.getLogger(__name__)
TOGETHER = Limits(piece=1 << 30, batch_files=512)
"""What is verified and recorded in one go; the verdicts of the others do not wait for a larger file."""

SEND_AGAIN = "run the same command again to send it anew"


@dataclass
class Case:
    """One upload on its way to a verdict; ``error`` ends it."""

    target: UploadTarget
    work: Work
    staged: Staged | None = None
    proof: Proof | None = None
    error: DrayError | None = None

    @property
    def waits(self) -> bool:
        """Whether what failed may work later, so that there is no verdict yet."""
        return self.error is not None and self.error.retry == "later"

    def verdict(self) -> Verdict:
        """Return what is recorded."""
        proof = None if self.error else self.proof
        reason = "" if self.error is None else str(self.error)
        return Verdict(self.target.upload, self.work.job, self.work.attempt, proof, reason)


class Verify:
    """Reads what was staged again where it stays, compares it with the claim, publishes and records it.

    Killed anywhere, the same job does it again: what was published is found by its content and only recorded.
    """

    def __init__(self, place: Place, uploads: Uploads, records: Records) -> None:
        self._session = place.session
        self._uploads = uploads
        self._records = records

    async def step(self, claim: Claim) -> Sequence[Step]:
        """Bring the uploads of all jobs to a verdict; those that cannot get one yet make their job wait."""
        cases = await self._cases(claim.works)
        for batch in plan_batches(cases, lambda case: case.target.size, TOGETHER):
            await self._bring(batch, claim)
        return [_step(work, cases) for work in claim.works]

    async def _bring(self, cases: Sequence[Case], claim: Claim) -> None:
        await self._stage(cases)
        await self._prove(_going(cases))
        claim.check()
        await self._publish(_going(cases))
        await self._record([case for case in cases if not case.waits])

    async def give_up(self, work: Work, error: DrayError) -> None:
        """Reject what still waits for the job."""
        cases = await self._cases([work])
        for case in cases:
            case.error = IntegrityFailure(f"it could not be verified: {error}", hint=SEND_AGAIN)
        await self._record(cases)

    async def _cases(self, works: Sequence[Work]) -> list[Case]:
        """Return the uploads that still wait for their verdict."""
        of = {upload: work for work in works if isinstance(work.task, VerifyTask) for upload in work.task.uploads}
        targets = await self._uploads.targets(list(of))
        found = [target for target in targets if isinstance(target, UploadTarget) and target.state == "uploaded"]
        return [Case(target, of[target.upload]) for target in found]

    async def _stage(self, cases: Sequence[Case]) -> None:
        answers = await self._session.stage([case.target.landing() for case in cases]) if cases else []
        for case, answer in zip(cases, answers, strict=True):
            if isinstance(answer, DrayError):
                case.error = answer
            else:
                case.staged = answer

    async def _prove(self, cases: Sequence[Case]) -> None:
        said = [_said(case) for case in cases]
        proofs = await self._session.verify(said) if said else []
        for case, claim, proof in zip(cases, said, proofs, strict=True):
            if isinstance(proof, DrayError):
                case.error = _missing(proof)
            else:
                case.proof, case.error = proof, compare(claim, proof)

    async def _publish(self, cases: Sequence[Case]) -> None:
        refs = [case.staged.ref for case in cases if case.staged]
        entries = await self._session.publish(refs) if refs else []
        for case, entry in zip(cases, entries, strict=True):
            if isinstance(entry, DrayError):
                case.error = _missing(entry)
            elif case.proof and entry.tag:
                case.proof = msgspec.structs.replace(case.proof, tag=entry.tag)

    async def _record(self, cases: Sequence[Case]) -> None:
        recorded = await self._records.record([case.verdict() for case in cases]) if cases else set()
        refused = [case for case in cases if case.error and case.staged and case.target.upload in recorded]
        gone = await self._session.remove([case.staged.ref for case in refused if case.staged]) if refused else []
        for case, failure in zip(refused, gone, strict=True):
            if failure is not None:
                LOG.warning("what was staged for upload %d is left to the sweep: %s", case.target.upload, failure)
        cleared = [case.target.upload for case, answer in zip(refused, gone, strict=True) if answer is None]
        if cleared:
            await self._records.cleared(cleared)


def _going(cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if case.error is None]


def _said(case: Case) -> Said:
    if case.staged is None or case.target.checksum is None:
        raise TypeError("an upload is verified after its claim, and staged")
    return Said(case.staged.ref, case.target.size, case.target.checksum)


def _missing(failure: Failure) -> DrayError:
    """Say what it means when nothing is staged any more: bytes that were not durable yet went with the power."""
    if isinstance(failure, NotFound):
        return IntegrityFailure("the bytes that were sent are not there any more", hint=SEND_AGAIN)
    return failure


def _step(work: Work, cases: Sequence[Case]) -> Step:
    waiting = [case for case in cases if case.work is work and case.waits]
    if not waiting:
        return Step(work.job)
    left = VerifyTask(tuple(case.target.upload for case in waiting), sum(case.target.size for case in waiting))
    return Step(work.job, error=waiting[0].error, task=left)
