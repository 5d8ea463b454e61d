"""Reads stored copies again, marks the damaged ones, and repairs from another copy where there is one."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from dray.core.scrub import Finding, Scrubs, StoredCopy
from dray.errors import DrayError, IntegrityFailure, NotFound
from dray.model.queue import ScrubTask, Work
from dray.model.values import Claim as Said
from dray.model.values import Proof
from dray.model.verdict import compare
from dray.transports.base import Failure
from dray.work.repair import rewrite
from dray.work.steps import Claim, Place, Step

LOG = logging.getLogger(__name__)


class ScrubHandler:
    """One step reads a batch of copies; the job remembers where it is, so that a restart goes on there."""

    def __init__(self, places: Sequence[Place], scrubs: Scrubs) -> None:
        self._places: Mapping[str, Place] = {place.name: place for place in places}
        self._scrubs = scrubs

    async def step(self, claim: Claim) -> Sequence[Step]:
        """Read the next copies of each job."""
        return [await self._step(work, claim) for work in claim.works]

    async def give_up(self, work: Work, error: DrayError) -> None:
        """Leave the rest unread; the job says so."""

    async def _step(self, work: Work, claim: Claim) -> Step:
        if not isinstance(work.task, ScrubTask):
            raise TypeError("this is not a scrub")
        copies = await self._scrubs.page(work.task)
        if not copies:
            return Step(work.job, reason=f"{work.task.checked} copies were read", task=work.task)
        findings = await self._look(copies)
        claim.check()
        await self._scrubs.record(findings)
        repaired = sum([await self._repair(finding.copy) for finding in findings if finding.is_damage])
        task = _counted(work.task, findings, repaired)
        return Step(work.job, again=0.0, reason=f"goes on; {task.checked} copies were read so far", task=task)

    async def _look(self, copies: Sequence[StoredCopy]) -> list[Finding]:
        """Read copies again; what looks damaged is read twice, so that no alarm is false."""
        first = await self._read(copies)
        doubtful = [finding.copy for finding in first if finding.is_damage]
        second = {finding.copy.copy: finding for finding in await self._read(doubtful)} if doubtful else {}
        return [second.get(finding.copy.copy, finding) for finding in first]

    async def _read(self, copies: Sequence[StoredCopy]) -> list[Finding]:
        by_store: dict[str, list[StoredCopy]] = defaultdict(list)
        for copy in copies:
            by_store[copy.store].append(copy)
        return [finding for store, mine in by_store.items() for finding in await self._read_in(store, mine)]

    async def _read_in(self, store: str, copies: Sequence[StoredCopy]) -> list[Finding]:
        place = self._places.get(store)
        if place is None:
            return [Finding(copy, "unread", f"this worker does not reach store {store}") for copy in copies]
        said = [Said(place.published(copy.location, copy.tag), copy.size, copy.checksum) for copy in copies]
        proofs = await place.session.verify(said)
        return [judge(copy, claim, proof) for copy, claim, proof in zip(copies, said, proofs, strict=True)]

    async def _repair(self, copy: StoredCopy) -> bool:
        """Write a damaged copy again from a verified one in another store; False when there is none."""
        place = self._places[copy.store]
        # Under the final name of an older version lies a newer one, which is not touched.
        for other in await self._scrubs.others(copy) if copy.current else []:
            source = self._places.get(other.store)
            if source is not None and await self._scrubs.begin_repair(copy):
                try:
                    proof = await rewrite(source, other, place, copy)
                except DrayError as error:
                    LOG.warning("copy %d is not repaired from store %s: %s", copy.copy, other.store, error)
                    continue
                await self._scrubs.record([Finding(copy, "verified", proof=proof)])
                return True
        return False


def judge(copy: StoredCopy, said: Said, proof: Failure | Proof) -> Finding:
    """Return what reading a copy again showed; what could not be read now is no damage."""
    if isinstance(proof, NotFound):
        return Finding(copy, "lost", f"{copy.size} bytes are not there any more")
    if isinstance(proof, IntegrityFailure):
        return Finding(copy, "corrupt", str(proof))
    if isinstance(proof, DrayError):
        return Finding(copy, "unread", str(proof))
    if compare(said, proof) is not None:
        return Finding(copy, "corrupt", f"{proof.size} bytes with {proof.checksum} are stored, not {said.checksum}")
    return Finding(copy, "verified", proof=proof)


def _counted(task: ScrubTask, findings: Sequence[Finding], repaired: int) -> ScrubTask:
    found = [finding.verdict for finding in findings]
    return msgspec.structs.replace(
        task,
        after=max(finding.copy.copy for finding in findings),
        checked=task.checked + len(findings) - found.count("unread"),
        bytes=task.bytes + sum(finding.copy.size for finding in findings if finding.verdict != "unread"),
        corrupt=task.corrupt + found.count("corrupt"),
        lost=task.lost + found.count("lost"),
        unread=task.unread + found.count("unread"),
        repaired=task.repaired + repaired,
    )
