"""Bytes to and from our own server: bundles of small files, signed URLs for the parts of larger ones."""

import asyncio
from collections.abc import Sequence

from crc32c import crc32c

from dray import fs
from dray.client.api import Api
from dray.client.http import Moved
from dray.client.urls import Key, SignedUrls
from dray.clock import Clock
from dray.errors import DrayError, Expired, Refused
from dray.fs import FileRange
from dray.model import views
from dray.model.values import Receipt, Ref
from dray.transports.base import Failure, Piece
from dray.transports.dray_shapes import Plan, file_number, number, receipt_of
from dray.transports.together import Answers, carry, cut, in_batches, loads_of

AHEAD = 63
"""URLs of following parts that are asked for together with a missing one."""
BUNDLED = 4 << 20
"""Largest file, and largest bundle, in bytes, when files are fetched together."""
READ = 1 << 20


class Lines:
    """The connections of a session that may carry bytes at the same time."""

    def __init__(self, api: Api, parallel: int, clock: Clock, on_wire: Moved | None) -> None:
        self.api = api
        self.clock = clock
        self.on_wire = on_wire
        self.slots = asyncio.Semaphore(parallel)


class Sender:
    """Sends pieces of staged files; ``plans`` must hold each of them."""

    def __init__(self, lines: Lines, plans: dict[Ref, Plan]) -> None:
        self._lines = lines
        self._plans = plans
        self._urls = SignedUrls(self._ask, lines.clock)

    async def send(self, pieces: Sequence[Piece]) -> Answers:
        """Send whole files in bundles and parts to their URLs; a piece that is neither is refused."""
        good = [piece for piece in pieces if self._plans[piece.ref].has(piece)]
        whole = [piece for piece in good if self._plans[piece.ref].takes_whole(piece)]
        parts = [piece for piece in good if not self._plans[piece.ref].takes_whole(piece)]
        most = min((self._plans[piece.ref].part_size for piece in whole), default=0)
        sent = iter(await carry(good, [*loads_of(whole, most), *([part] for part in parts)], self._load))
        return [next(sent) if self._plans[piece.ref].has(piece) else Refused("no such part") for piece in pieces]

    async def _load(self, load: Sequence[Piece]) -> Answers:
        plan = self._plans[load[0].ref]
        if plan.takes_whole(load[0]):
            return await self._bundle(load)
        if load[0].at.length > plan.part_size:
            return [await self._in_parts(load[0], plan.part_size)]
        return [await self._part(load[0])]

    async def _bundle(self, load: Sequence[Piece]) -> Answers:
        crcs = [await crc_of(piece) for piece in load]
        items = [
            views.BundleItem(upload=number(piece.ref), size=piece.at.length, crc32c=f"{crc:08x}")
            for piece, crc in zip(load, crcs, strict=True)
        ]
        bodies = [piece.at for piece in load]
        async with self._lines.slots:
            manifest = views.BundleManifest(items=items)
            answers = await self._lines.api.send_bundle(manifest, bodies, self._lines.on_wire)
        return [receipt_of(*one) for one in zip(load, crcs, answers, strict=True)]

    async def _in_parts(self, piece: Piece, size: int) -> Receipt | Failure:
        """Send a whole file that the server wants in several parts."""
        parts = cut(piece, size)
        answers = await carry(parts, [[part] for part in parts], self._load)
        failed = next((answer for answer in answers if isinstance(answer, DrayError)), None)
        return failed or Receipt(piece.ref, piece.number, piece.at.length, await crc_of(piece), "durable")

    async def _part(self, piece: Piece) -> Receipt | Failure:
        upload, crc = number(piece.ref), await crc_of(piece)
        ahead = [(upload, part) for part in self._plans[piece.ref].ahead(piece.number, AHEAD)]
        try:
            async with self._lines.slots:
                url = await self._urls.get((upload, piece.number), ahead)
                answer = await self._lines.api.put_part(url, piece.at, crc, self._lines.on_wire)
        except Expired:
            self._urls.clear()
            raise
        self._urls.drop((upload, piece.number))
        return receipt_of(piece, crc, answer)

    async def _ask(self, keys: Sequence[Key]) -> Sequence[views.SignedUrl | DrayError]:
        items = [views.PartRequest(upload=upload, number=part) for upload, part in keys]
        return await self._lines.api.part_urls(views.PartsRequest(items=items))


class Fetcher:
    """Fills local ranges from published files."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._urls = SignedUrls(self._ask, lines.clock)

    async def fetch(self, pieces: Sequence[Piece]) -> Answers:
        """Fetch small whole files in bundles, ranges of others from signed URLs."""
        small = await self._small(pieces) if len(pieces) > 1 else set()
        bundles = loads_of([piece for piece in pieces if piece in small], BUNDLED)
        return await carry(pieces, [*bundles, *([piece] for piece in pieces if piece not in small)], self._load)

    async def _small(self, pieces: Sequence[Piece]) -> set[Piece]:
        """Return the pieces that are whole files small enough for a bundle."""
        asked = await in_batches([(file_number(piece.ref), 0) for piece in pieces], self._ask)
        return {
            piece
            for piece, url in zip(pieces, asked, strict=True)
            if isinstance(url, views.SignedUrl) and piece.offset == 0 and url.size == piece.at.length <= BUNDLED
        }

    async def _load(self, load: Sequence[Piece]) -> Answers:
        if len(load) == 1:
            return [await self._range(load[0])]
        try:
            return await self._bundle(load)
        except DrayError as error:
            if error.retry == "later":
                raise
        return await carry(load, [[piece] for piece in load], self._load)  # one bad file spoils a bundle

    async def _bundle(self, load: Sequence[Piece]) -> Answers:
        request = views.FilesRequest(items=[views.FileRef(file=file_number(piece.ref)) for piece in load])
        async with self._lines.slots:
            crcs = await self._lines.api.get_bundle(request, [piece.at for piece in load], self._lines.on_wire)
        return [_filled(piece, crc) for piece, crc in zip(load, crcs, strict=True)]

    async def _range(self, piece: Piece) -> Receipt:
        if piece.at.length == 0:
            return _filled(piece, 0)
        key = (file_number(piece.ref), 0)
        try:
            async with self._lines.slots:
                url = await self._urls.get(key)
                crc = await self._lines.api.get_range(url, piece.offset, piece.at, self._lines.on_wire)
        except Expired:
            self._urls.clear()
            raise
        return _filled(piece, crc)

    async def _ask(self, keys: Sequence[Key]) -> Sequence[views.SignedUrl | DrayError]:
        items = [views.FileRef(file=file) for file, _ in keys]
        return await self._lines.api.file_urls(views.FilesRequest(items=items))


def _filled(piece: Piece, crc: int) -> Receipt:
    return Receipt(piece.ref, piece.number, piece.at.length, crc, "flushed")


async def crc_of(piece: Piece) -> int:
    """Return the crc32c of a piece, reading it where the mover did not say."""
    return piece.crc32c if piece.crc32c is not None else await asyncio.to_thread(_read_crc, piece.at)


def _read_crc(at: FileRange) -> int:
    crc = 0
    for start in range(0, at.length, READ):
        crc = crc32c(fs.read_at(at.file, min(READ, at.length - start), at.offset + start), crc)
    return crc
