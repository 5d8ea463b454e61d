"""What is on its way to a bucket: staged objects, multipart uploads in progress, and the marks of durable parts.

A multipart upload cannot be read before it is completed, and tells md5 at most of what it holds. So it is completed
under a staged key, read there, and copied by the service; an empty object beside it marks each part with its crc32c.
"""

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field

import msgspec

from dray.errors import Conflict, DrayError, NotFound, PieceDamaged, Refused
from dray.model.parts import part_count, plan_part_size
from dray.model.values import Held, Limits, Receipt, Staged
from dray.transports.base import Piece
from dray.transports.dray_bytes import crc_of
from dray.transports.refs import Target
from dray.transports.s3.answers import Seen, Upload
from dray.transports.s3.bucket import CHECKED, NONE, Bucket
from dray.transports.s3.layout import Layout, Mark, mark_of, part_size_of


@dataclass(slots=True)
class Box:
    """What is held of a larger file; ``upload`` is empty once it was completed."""

    key: str
    part_size: int
    upload: str = ""
    marks: dict[int, Mark] = field(default_factory=dict)

    def held(self, size: int) -> tuple[Held, ...]:
        """Return the durable parts in order."""
        return tuple(mark.held(size, self.part_size) for _, mark in sorted(self.marks.items()))


class Arriving:
    """Brings bytes. Everything it knows can be found again by another process."""

    def __init__(self, bucket: Bucket, layout: Layout, limits: Limits) -> None:
        self._bucket = bucket
        self._layout = layout
        self._limits = limits
        self._boxes: dict[str, Box] = {}
        self._finding = asyncio.Lock()
        self._versioned: bool | None = None

    def is_whole(self, target: Target) -> bool:
        """Say whether the file is one piece: sent again from the start."""
        return target.size <= self._limits.piece

    def key(self, target: Target) -> str:
        """Return where the bytes of a file of one piece are."""
        return self._layout.data(target, 0)

    # Begin or resume

    async def resume(self, target: Target, staged: Staged) -> Staged:
        """Begin a larger file, or say which of its parts are durable."""
        async with self._finding:
            box = await self._find(target) or await self._begin(target)
            self._boxes[target.name] = box
        return msgspec.structs.replace(staged, part_size=box.part_size, held=box.held(target.size))

    async def _begin(self, target: Target) -> Box:
        """Begin an upload; of two processes that do so at once both go on with the first."""
        part_size = plan_part_size(target.size, self._limits)
        key = self._layout.data(target, part_size)
        await self._bucket.begin(key, CHECKED if self._bucket.checks else ())
        found = await self._find(target)
        if found is None:
            raise NotFound("the upload that was begun is not there", hint="does the service keep uploads in progress?")
        return found

    async def _find(self, target: Target) -> Box | None:
        """Find what this or any other process has sent."""
        box = self._layout.box(target)
        marks: dict[int, list[Mark]] = defaultdict(list)
        async for one in self._bucket.objects(box):
            mark, part_size = mark_of(one.key), part_size_of(one.key)
            if mark is not None:
                marks[mark.number].append(mark)
            elif part_size and one.size == target.size:
                return await self._completed(Box(one.key, part_size), box)
        uploads = sorted(await self._bucket.uploads(box), key=lambda one: (one.begun, one.id))
        return await self._in_progress(uploads[0], marks) if uploads else None

    async def _completed(self, found: Box, box: str) -> Box:
        """Return what was completed: all of it is held, whatever was marked twice."""
        marks = [mark async for one in self._bucket.objects(f"{box}part-") if (mark := mark_of(one.key)) is not None]
        found.marks.update((mark.number, mark) for mark in marks)
        return found

    async def _in_progress(self, upload: Upload, marks: dict[int, list[Mark]]) -> Box:
        """Return the parts that the service has as they were marked; others are sent again."""
        found = Box(upload.key, part_size_of(upload.key) or self._limits.piece, upload.id)
        there = await self._bucket.parts(upload.key, upload.id) if marks else {}
        for number, tag in there.items():
            mark = next((one for one in marks.get(number, ()) if one.tag == tag), None)
            if mark is not None:
                found.marks[number] = mark
        return found

    async def _box(self, target: Target) -> Box | None:
        known = self._boxes.get(target.name)
        if known is None:
            async with self._finding:
                known = await self._find(target)
                if known is not None:
                    self._boxes[target.name] = known
        return known

    # Write

    async def put(self, target: Target, piece: Piece) -> Receipt:
        """Write one piece, whichever it is."""
        return await (self._whole(target, piece) if self.is_whole(target) else self._part(target, piece))

    async def _whole(self, target: Target, piece: Piece) -> Receipt:
        if (piece.number, piece.offset, piece.at.length) != (1, 0, target.size):
            raise Refused(f"the file is one piece of {target.size} bytes")
        crc = await crc_of(piece)
        await self._bucket.put(self.key(target), (piece.at,), crc)
        return Receipt(target.ref, 1, target.size, crc, "service")

    async def _part(self, target: Target, piece: Piece) -> Receipt:
        """Write a part of a larger file, unless it is held; its mark says that it is there."""
        box = await self._box(target)
        if box is None:
            return await self._gone(target, piece)
        held = _held(box, target, piece)
        if held is not None:
            if piece.crc32c not in (None, held.crc32c):
                raise Conflict(f"part {held.number} is held with other bytes", hint="cancel the upload and begin anew")
            return Receipt(target.ref, held.number, piece.at.length, held.crc32c, "service")
        if not box.upload:
            raise PieceDamaged("the upload was completed without this part", hint="run the same command again")
        crc = await crc_of(piece)
        query = (("partNumber", str(piece.number)), ("uploadId", box.upload))
        try:
            tag = await self._bucket.put(box.key, (piece.at,), crc, query)
        except NotFound:
            # Somebody else completed it or gave it up.
            self._boxes.pop(target.name, None)
            return await self._gone(target, piece)
        mark = Mark(piece.number, crc, tag)
        await self._bucket.put(self._layout.mark(target, mark), ())
        box.marks[piece.number] = mark
        return Receipt(target.ref, piece.number, piece.at.length, crc, "service")

    async def _gone(self, target: Target, piece: Piece) -> Receipt:
        """Answer for a part of what is not staged any more, because somebody else published it."""
        final = await self._bucket.look(self._layout.final(target.path))
        whole = await self._staged(target)
        if whole is None and (final is None or final.size != target.size):
            raise NotFound("nothing is staged under this ref")
        return Receipt(target.ref, piece.number, piece.at.length, await crc_of(piece), "service")

    async def _staged(self, target: Target) -> Seen | None:
        box = await self._box(target)
        return await self._bucket.look(box.key) if box is not None and not box.upload else None

    # Complete, give up

    async def whole(self, target: Target) -> tuple[str, Seen] | None:
        """Return key and look of the staged bytes, completed where they were not; None where nothing is staged."""
        if self.is_whole(target):
            key, seen = self.key(target), await self._bucket.look(self.key(target))
            return (key, seen) if seen is not None else None
        box = await self._box(target)
        if box is not None and box.upload and len(box.marks) < part_count(target.size, box.part_size):
            # Another process may have sent the rest.
            del self._boxes[target.name]
            box = await self._box(target)
        if box is None:
            return None
        if box.upload and len(box.marks) < part_count(target.size, box.part_size):
            raise Refused("not all parts were sent", hint="run the same command again")
        seen = await (self._complete(box) if box.upload else self._bucket.look(box.key))
        if seen is None:
            del self._boxes[target.name]
            return None
        return box.key, seen

    async def _complete(self, box: Box) -> Seen | None:
        """Make an object of the parts. What is there then counts, not what the answer says, which may be lost."""
        failure: DrayError | None = None
        tags = {number: mark.tag for number, mark in box.marks.items()}
        crcs = {number: mark.crc32c for number, mark in box.marks.items()} if self._bucket.checks else NONE
        try:
            await self._bucket.complete(box.key, box.upload, tags, crcs)
        except DrayError as error:
            failure = error
        seen = await self._bucket.look(box.key)
        if seen is None and failure is not None:
            raise failure
        box.upload = ""
        return seen

    async def discard(self, target: Target) -> None:
        """Remove what is staged; a thing that is not there is removed already."""
        self._boxes.pop(target.name, None)
        await self.empty([target])

    async def empty(self, targets: list[Target]) -> None:
        """Give up uploads and remove staged objects."""
        keys: list[tuple[str, str]] = []
        for target in targets:
            self._boxes.pop(target.name, None)
            if self.is_whole(target) and not await self.is_versioned():
                keys.append((self.key(target), ""))
            else:
                keys += await self._contents(self._layout.box(target))
        await self._bucket.delete_all(keys)

    async def _contents(self, box: str) -> list[tuple[str, str]]:
        """Give up the uploads of a box and return the objects in it."""
        for upload in await self._bucket.uploads(box):
            await self._bucket.abort(upload.key, upload.id)
        if await self.is_versioned():
            return await self._bucket.versions(box)
        return [(one.key, "") async for one in self._bucket.objects(box)]

    async def is_versioned(self) -> bool:
        """Say whether the bucket keeps what is deleted; staged bytes are deleted for good all the same."""
        if self._versioned is None:
            self._versioned = await self._bucket.is_versioned()
        return self._versioned

    async def boxes(self) -> set[str]:
        """Return the names of everything that has objects staged."""
        staging = self._layout.staging
        return {folder.removeprefix(staging).rstrip("/") for folder in await self._bucket.folders(staging)}

    async def sweep(self, before: float) -> int:
        """Remove what was staged before a time (seconds), and nobody came back for; return how much."""
        newest: dict[str, float] = {}
        staging = self._layout.staging
        found = [(one.key, one.begun) for one in await self._bucket.uploads(staging)]
        found += [(one.key, one.changed) async for one in self._bucket.objects(staging)]
        for key, changed in found:
            name = key.removeprefix(staging).partition("/")[0]
            newest[name] = max(changed, newest.get(name, 0.0))
        old = [name for name, changed in newest.items() if changed < before]
        for name in old:
            with contextlib.suppress(NotFound):
                await self._bucket.delete_all(await self._contents(self._layout.box_of(name)))
        return len(old)


def _held(box: Box, target: Target, piece: Piece) -> Mark | None:
    """Say whether the part is durable, or raise Refused when the plan has no such part."""
    size, begin = box.part_size, (piece.number - 1) * box.part_size
    planned = (begin, min(size, target.size - begin))
    if not 1 <= piece.number <= part_count(target.size, size) or planned != (piece.offset, piece.at.length):
        raise Refused(f"part {piece.number} is not {piece.at.length} bytes at {piece.offset}; parts have {size} bytes")
    return box.marks.get(piece.number)
