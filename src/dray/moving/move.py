"""THE recipe, the same in every direction: stage -> write (hash on the way) -> verify -> compare -> publish."""

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dray.errors import DrayError, IntegrityFailure, PieceDamaged, Stopped
from dray.model.checksum import Checksum
from dray.model.names import printable
from dray.model.values import Claim, Landing, Outcome, OutcomeKind, Proof, Receipt, Ref, Staged
from dray.model.verdict import compare
from dray.moving.bounded import bounded
from dray.moving.item import Content, Item
from dray.moving.report import NullReport, Phase, Report
from dray.moving.source import Opened, Source
from dray.moving.spool import Spool
from dray.transports.base import Piece, Session

__all__ = ["Item", "move"]

Q = TypeVar("Q")
R = TypeVar("R")

SILENT = NullReport()
LEAD = 2
"""Parts that are hashed before a sender is free for them."""


async def move(
    items: Sequence[Item],
    source: Source,
    destination: Session,
    report: Report = SILENT,
    stop: asyncio.Event | None = None,
) -> list[Outcome]:
    """Move one batch and return one outcome per item, in order; a failed item is an outcome, not an exception.

    Killed at any point, the same call moves what is missing: only the destination knows what it holds. A file that
    arrived with other bytes than were read is removed again, so that the next try begins anew. Once ``stop`` is set
    a large file ends after the parts that are on their way.
    """
    trip = Trip(source, destination, report, stop or asyncio.Event())
    walks = [Walk(item) for item in items]
    small = [walk for walk in walks if walk.item.size <= destination.limits.piece]
    await trip.guarded(small, trip.move_small(small))
    for walk in walks:
        if walk.item.size > destination.limits.piece:
            await trip.guarded([walk], trip.move_large(walk))
    await trip.discard(walks)
    return [trip.finish(walk) for walk in walks]


@dataclass(slots=True)
class Walk:
    """How far one item got; ``error`` ends it."""

    item: Item
    content: Content | None = None
    checksum: Checksum | None = None
    staged: Staged | None = None
    proof: Proof | None = None
    error: DrayError | None = None

    def landing(self) -> Landing:
        """Return what the destination is asked to stage."""
        item = self.item
        known = self.checksum, item.source, item.mtime_ns, item.mode
        return Landing(item.path, item.size, item.version, item.on_exists, *known)

    def spoiled(self) -> bool:
        """Say whether what is staged has other bytes than the source, so that resuming it can never succeed."""
        return isinstance(self.error, IntegrityFailure) and not isinstance(self.error, PieceDamaged)


@dataclass(slots=True, frozen=True)
class Trip:
    """One batch on its way from a source to a destination."""

    source: Source
    destination: Session
    report: Report
    stop: asyncio.Event

    async def move_small(self, walks: Sequence[Walk]) -> None:
        """Move files of one piece: read and hashed once into the spool, sent from there."""
        if not walks:
            return
        with Spool() as spool:
            await self.gather(walks, spool)
            await self.stage(walks)
            await self.write(walks)
        await self.settle(walks)

    async def move_large(self, walk: Walk) -> None:
        """Move one file of many parts: hashed in order while its parts are sent."""
        async with self.source.opened(walk.item) as opened:
            await self.stage([walk])
            if walk.staged is not None and walk.staged.hash_first:
                self.phase([walk], "hash")
                walk.checksum = await opened.checksum()
                await self.stage([walk])
            await self.send(walk, opened)
        await self.settle([walk])

    async def gather(self, walks: Sequence[Walk], spool: Spool) -> None:
        """Fill the spool; what is sent later is exactly what was hashed here."""
        self.phase(walks, "hash")
        for walk, content in zip(walks, await self.source.gather([w.item for w in walks], spool), strict=True):
            if isinstance(content, DrayError):
                self.fail(walk, content)
            else:
                walk.content, walk.checksum = content, content.checksum

    async def stage(self, walks: Sequence[Walk]) -> None:
        """Ask the destination what it wants."""
        for walk, staged in await self.ask(walks, Walk.landing, self.destination.stage):
            walk.staged = staged

    async def write(self, walks: Sequence[Walk]) -> None:
        """Write whole small files."""
        wanted = [w for w in walks if w.staged is not None and not w.staged.done]
        self.phase(wanted, "send")
        for walk, receipt in await self.ask(wanted, whole, self.destination.write):
            self.report.moved(walk.item.path, receipt.length)

    async def send(self, walk: Walk, opened: Opened) -> None:
        """Write the missing parts of a large file; the source's checksum is known afterwards."""
        if walk.staged is None:
            return
        if not walk.staged.done:
            self.phase([walk], "send")
            self.report.moved(walk.item.path, sum(held.length for held in walk.staged.held))
            await self.send_parts(walk, opened.pieces(walk.staged))
        if walk.error is None:
            walk.checksum = await opened.checksum()

    async def send_parts(self, walk: Walk, pieces: AsyncIterator[Piece]) -> None:
        """Keep ``in_flight`` parts on the way and a few more hashed; the first failure stops the rest."""

        async def write(piece: Piece) -> Receipt:
            receipt = (await self.destination.write([piece]))[0]
            if isinstance(receipt, DrayError):
                raise receipt
            self.report.moved(walk.item.path, receipt.length)
            return receipt

        async for _ in bounded(self.until_stop(walk, pieces), write, self.destination.limits.in_flight, ahead=LEAD):
            pass

    async def until_stop(self, walk: Walk, pieces: AsyncIterator[Piece]) -> AsyncGenerator[Piece, None]:
        """Pass pieces on until the stop; those that are on their way then arrive and are kept."""
        async for piece in pieces:
            if self.stop.is_set():
                self.fail(walk, Stopped("it was stopped between two parts", hint="the next run goes on from there"))
                return
            yield piece

    async def settle(self, walks: Sequence[Walk]) -> None:
        """Verify, compare and publish what was written."""
        for walk, proof in await self.ask(self.phase(walks, "verify"), claim, self.destination.verify):
            walk.proof = proof
            failure = compare(claim(walk), proof)
            if failure is not None:
                self.fail(walk, failure)
        fresh = [walk for walk in walks if walk.staged is not None and not walk.staged.done]
        await self.ask(self.phase(fresh, "publish"), ref, self.destination.publish)

    async def discard(self, walks: Sequence[Walk]) -> None:
        """Remove staged bytes that differ from the source; where even that fails, the answer says so."""
        spoiled = [walk for walk in walks if walk.staged is not None and walk.spoiled()]
        try:
            if spoiled:
                await self.destination.remove([ref(walk) for walk in spoiled])
        except DrayError as failure:
            for walk in spoiled:
                if walk.error is not None:
                    walk.error.add_note(f"what is staged could not be removed: {failure}")

    async def ask(
        self,
        walks: Sequence[Walk],
        request: Callable[[Walk], Q],
        call: Callable[[Sequence[Q]], Awaitable[Sequence[R | DrayError]]],
    ) -> list[tuple[Walk, R]]:
        """Make one batch call for the items that are still alive; return the answers that are not failures."""
        alive = [walk for walk in walks if walk.error is None]
        if not alive:
            return []
        good: list[tuple[Walk, R]] = []
        for walk, answer in zip(alive, await call([request(walk) for walk in alive]), strict=True):
            if isinstance(answer, DrayError):
                self.fail(walk, answer)
            else:
                good.append((walk, answer))
        return good

    async def guarded(self, walks: Sequence[Walk], steps: Coroutine[None, None, None]) -> None:
        """Run the steps; a call that failed as a whole is the failure of every item still on its way."""
        try:
            await steps
        except DrayError as error:
            for walk in walks:
                if walk.error is None:
                    self.fail(walk, copy.copy(error))

    def phase(self, walks: Sequence[Walk], phase: Phase) -> Sequence[Walk]:
        """Report what begins now and return the items that are still alive."""
        alive = [walk for walk in walks if walk.error is None]
        for walk in alive:
            self.report.phase(walk.item.path, phase)
        return alive

    def fail(self, walk: Walk, error: DrayError) -> None:
        """End one item."""
        walk.error = error.about(printable(walk.item.path))

    def finish(self, walk: Walk) -> Outcome:
        """Report and return how an item ended."""
        item = walk.item
        if walk.error is not None:
            outcome = Outcome(item.path, "failed", item.size, walk.checksum, item.version, walk.proof, walk.error)
        else:
            kind: OutcomeKind = "already" if staged(walk).done else "moved"
            outcome = Outcome(item.path, kind, item.size, walk.checksum, item.version, walk.proof)
        self.report.outcome(outcome)
        return outcome


def set_by_an_earlier_step(value: R | None) -> R:
    """Return the value; its absence would be a step taken out of order."""
    if value is None:
        raise LookupError("a step of the move was left out")
    return value


def staged(walk: Walk) -> Staged:
    """Return what the destination staged for a living item."""
    return set_by_an_earlier_step(walk.staged)


def ref(walk: Walk) -> Ref:
    """Name the item at the destination."""
    return staged(walk).ref


def whole(walk: Walk) -> Piece:
    """Return the only piece of a small file."""
    content = set_by_an_earlier_step(walk.content)
    return Piece(ref(walk), 1, 0, content.at, content.crc32c)


def claim(walk: Walk) -> Claim:
    """Return what was read from the source."""
    return Claim(ref(walk), walk.item.size, set_by_an_earlier_step(walk.checksum))
