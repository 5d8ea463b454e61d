"""Writes a damaged copy again from a good one in another store, part by part, and verifies it where it lies."""

from typing import TypeVar

import msgspec

from dray.core.scrub import StoredCopy
from dray.errors import DrayError
from dray.model.parts import Part, parts
from dray.model.values import Claim, Landing, Proof, Receipt, Ref, Staged
from dray.model.verdict import compare
from dray.moving.spool import Spool
from dray.transports.base import Piece, Session
from dray.work.steps import Place

T = TypeVar("T")


async def rewrite(source: Place, good: StoredCopy, destination: Place, damaged: StoredCopy) -> Proof:
    """Bring the content of ``good`` to the final name of ``damaged`` and return its proof, or raise what failed."""
    staged = await _stage(destination.session, damaged)
    held = {part.number for part in staged.held}
    for part in parts(staged.size, staged.part_size):
        if part.number not in held and not staged.done:
            await _carry(source, good, destination.session, staged.ref, part)
    said = Claim(staged.ref, damaged.size, damaged.checksum)
    proof = _good((await destination.session.verify([said]))[0])
    failure = compare(said, proof)
    if failure is not None:
        await destination.session.remove([staged.ref])
        raise failure
    entry = _good((await destination.session.publish([staged.ref]))[0])
    return msgspec.structs.replace(proof, tag=entry.tag or proof.tag)


async def _stage(session: Session, damaged: StoredCopy) -> Staged:
    landing = Landing(
        path=damaged.location,
        size=damaged.size,
        version=f"repair-{damaged.copy}",
        on_exists="replace",
        checksum=damaged.checksum,
        mtime_ns=damaged.mtime_ns,
    )
    return _good((await session.stage([landing]))[0])


async def _carry(source: Place, good: StoredCopy, session: Session, ref: Ref, part: Part) -> Receipt:
    with Spool(on_disk=True) as spool:
        at = spool.reserve(part.length)
        piece = Piece(source.published(good.location, good.tag), part.number, part.offset, at)
        read = _good((await source.session.read([piece]))[0])
        return _good((await session.write([Piece(ref, part.number, part.offset, at, read.crc32c)]))[0])


def _good(answer: T | DrayError) -> T:
    if isinstance(answer, DrayError):
        raise answer
    return answer
