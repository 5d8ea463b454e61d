"""A prefix of a bucket as a place for bytes (docs/adr, "S3 without a server of ours").

Nothing here tries anything again.
"""

import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import msgspec

from dray.client.http import Http, HttpSettings
from dray.client.rate import Rate
from dray.clock import Clock
from dray.errors import Conflict, DrayError, IntegrityFailure, NotFound, PieceDamaged, Refused, Temporary
from dray.model.names import RemotePath, printable
from dray.model.values import Change, Claim, Entry, Landing, Proof, Receipt, Ref, Staged
from dray.threads import in_thread
from dray.transports.base import Failure, Piece
from dray.transports.refs import Target, published_of, ref_of, target_of
from dray.transports.s3.answers import Seen
from dray.transports.s3.arriving import Arriving
from dray.transports.s3.bucket import Ask, Bucket
from dray.transports.s3.changing import Changing
from dray.transports.s3.credentials import account
from dray.transports.s3.crowd import Crowd
from dray.transports.s3.final import Final, Verified, entry
from dray.transports.s3.layout import Layout
from dray.transports.s3.prover import Prover
from dray.transports.s3.settings import S3Settings

T = TypeVar("T")
R = TypeVar("R")
Environ: TypeAlias = Mapping[str, str]
Answers: TypeAlias = list[R | DrayError]
Names: TypeAlias = dict[str, frozenset[str] | None]
LOG = logging.getLogger("dray.transports")
MANY = 8
"""Files for the same folder from which on it is listed rather than asked for each."""
BESIDE = 8
"""Requests without a file's bytes that are on the way besides those with them."""
PAGE = 256
KEPT = 7 * 86400.0
"""Seconds after which what nobody came back for is removed."""


class S3:
    """A prefix of a bucket; ``connect`` fails where it cannot be reached, or is no bucket of ours."""

    def __init__(
        self, settings: S3Settings, clock: Clock, rate: Rate | None = None, environ: Environ = os.environ
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._rate = rate
        self._environ = environ

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["S3Session"]:
        """Open a session; several at once, in any processes, do not disturb each other."""
        settings = self.settings
        found = await in_thread(None, account, settings, self._environ)
        http = HttpSettings(settings.ca_file, settings.limits.in_flight, settings.connect, settings.stall)
        async with Http(http, self._rate) as line:
            bucket = Bucket(line, settings, found, self._clock)
            await bucket.check()
            yield await _opened(settings, bucket)


async def _opened(settings: S3Settings, bucket: Bucket) -> "S3Session":
    """Make a session; where the prefix is the key of an object and may be, this is all that the place has."""
    folder, _, name = settings.prefix.rpartition("/")
    if settings.single and name:
        if await bucket.look(settings.prefix) is not None:
            return S3Session(bucket, folder, name)
        if not await bucket.has(f"{settings.prefix}/"):
            raise NotFound("there is nothing of this name", item=f"{settings.name}/{printable(settings.prefix)}")
    return S3Session(bucket, settings.prefix)


class S3Session:
    """See ``Session``."""

    def __init__(self, bucket: Bucket, prefix: str, file: str = "") -> None:
        settings = bucket.settings
        self.limits = settings.limits
        self._file = file
        self.bucket = bucket
        self._layout = Layout(prefix)
        self._crowd = Crowd(settings.limits.in_flight + BESIDE)
        self._arriving = Arriving(bucket, self._layout, settings.limits)
        self._final = Final(bucket, self._layout, Crowd(settings.limits.in_flight), keep=settings.keep_older)
        self._changing = Changing(bucket, self._layout, self._final)
        self._prover = Prover(bucket, self._arriving, self._final)
        self._swept = False

    @property
    def is_file(self) -> bool:
        """Say whether the place is a single file (``S3Settings.single``)."""
        return bool(self._file)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield what is below a folder (``prefix``), in path order; Dray's own objects are no entries."""
        if self._file:
            seen = await self._final.look(RemotePath(self._file))
            if seen is not None and not prefix:
                yield entry(RemotePath(self._file), seen)
            return
        async for page in self._final.entries(prefix, PAGE):
            for one in page:
                yield one

    # Stage

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Begin or resume; the ref holds all of the landing, so that it is good in any other session."""
        await self._sweep()
        there = await self._survey(landings)
        boxes = await self._arriving.boxes()

        async def begin(landing: Landing) -> Staged:
            target = target_of(ref_of(landing))
            seen = await self._seen(target, there.get(target.path.parent))
            return await self._begin(landing, target, seen, boxes)

        return await self._crowd.each(landings, begin)

    async def _sweep(self) -> None:
        """Remove, once a session, what nobody came back for; that this is not allowed keeps nothing from arriving."""
        if not self._swept:
            self._swept = True
            try:
                removed = await self.sweep(self.bucket.now - KEPT)
            except DrayError as error:
                LOG.info("%s: what is abandoned could not be looked for: %s", self.bucket.settings.name, error)
            else:
                LOG.info("%s: %d abandoned uploads removed", self.bucket.settings.name, removed)

    async def sweep(self, before: float) -> int:
        """Give up and remove what was staged before a time (seconds), and nobody came back for; return how much."""
        return await self._arriving.sweep(before)

    async def _survey(self, landings: Sequence[Landing]) -> Names:
        """List the folders that many files go to."""
        names: dict[str, list[str]] = defaultdict(list)
        for landing in landings:
            names[landing.path.parent].append(landing.path.name)
        return {folder: await self._final.survey(folder, some) for folder, some in names.items() if len(some) >= MANY}

    async def _seen(self, target: Target, there: frozenset[str] | None) -> Seen | None:
        """Look at the final name; Conflict where it cannot be that of a file."""
        name = target.path.name
        if there is not None and f"{name}/" in there:
            raise Conflict("a folder has this name")
        seen = await self._final.look(target.path) if there is None or name in there else None
        if seen is None:
            await (self._final.check_free(target.path) if there is None else self._final.check_above(target.path))
        return seen

    async def _begin(self, landing: Landing, target: Target, seen: Seen | None, boxes: set[str]) -> Staged:
        staged = Staged(target.ref, target.path, target.size, self.limits.piece)
        if seen is not None and seen.size == target.size:
            if landing.checksum is None:
                return msgspec.structs.replace(staged, hash_first=True)
            if await self._prover.content(self._layout.final(target.path), seen) == landing.checksum:
                # A crash after publishing leaves what was staged.
                if target.name.removesuffix(".staged") in boxes:
                    await self._arriving.discard(target)
                return msgspec.structs.replace(staged, done=True)
        if seen is not None and landing.on_exists == "fail":
            raise Conflict("there is another file with this name", hint="nothing was changed")
        return staged if self._arriving.is_whole(target) else await self._arriving.resume(target, staged)

    # Bytes

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Write pieces, each a request; what a service received otherwise than it was read does not count."""

        async def put(piece: Piece) -> Receipt:
            return await self._arriving.put(target_of(piece.ref), piece)

        return await self._crowd.each(pieces, put)

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Fetch ranges of published files; a ref with a tag finds this content even when newer has the name."""
        return await self._crowd.each(pieces, self._read)

    async def _read(self, piece: Piece) -> Receipt:
        known = published_of(piece.ref)
        if known is None:
            raise Refused("not a ref of a published file")
        path, tag = known
        if not piece.at.length:
            await self._final.find(path, tag)
            return Receipt(piece.ref, piece.number, 0, 0, "flushed")
        crc = await self._fetch(self._layout.final(path), tag, piece)
        if crc is None:
            key, seen = await self._final.find(path, tag)
            crc = await self._fetch(key, seen.tag, piece)
        if crc is None:
            raise NotFound("there is no such file")
        if piece.crc32c not in (None, crc):
            raise PieceDamaged("the bytes are not what they were said to be")
        return Receipt(piece.ref, piece.number, piece.at.length, crc, "flushed")

    async def _fetch(self, key: str, tag: str, piece: Piece) -> int | None:
        """Fill the range of a piece from an object; None when this content is not there."""
        pinned = (("If-Match", f'"{tag}"'),) if tag else ()
        headers = (("Range", f"bytes={piece.offset}-{piece.offset + piece.at.length - 1}"), *pinned)
        response = await self.bucket.send(Ask("GET", key, (), headers, into=(piece.at,), fine=(404, 412)))
        if response.status in (404, 412):
            return None
        if not response.crcs:
            raise IntegrityFailure("the service sent something else than the range that was asked for")
        return response.crcs[0]

    # Verify, publish, remove

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Complete uploads, then read the objects again."""
        return _whole(await self._crowd.each(claims, self._prover.prove))

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Copy to the final names at the service; what a name held is kept where the settings say so."""
        answers = _whole(await self._crowd.each(staged, self._publish))
        placed = [ref for ref, answer in zip(staged, answers, strict=True) if isinstance(answer, Entry)]
        try:
            await self._arriving.empty([target_of(ref) for ref in placed])
        except DrayError as error:
            # They are published all the same; the next look at them, or the sweep, tries again.
            LOG.warning("%s: what was staged could not be removed: %s", self.bucket.settings.name, error)
        return answers

    async def _publish(self, ref: Ref) -> Entry:
        target = target_of(ref)
        verified = self._prover.verified(ref)
        if verified is None:
            staged = await self._arriving.whole(target)
            if staged is None:
                return await self._final.already(target)
            verified = Verified(staged[0], staged[1].tag, staged[1].size)
        return await self._final.place(target, verified)

    async def change(self, changes: Sequence[Change]) -> Sequence[Failure | None]:
        """Make changes of names one after another."""
        return await Crowd(1).each(changes, self._changing.change)

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Remove what is staged, or what is published, whichever the ref names."""
        return await self._crowd.each(refs, self._remove)

    async def _remove(self, ref: Ref) -> None:
        known = published_of(ref)
        if known is not None:
            await self._final.remove(*known)
        else:
            await self._arriving.discard(target_of(ref))


def _whole(answers: Answers[R]) -> Answers[R]:
    """Return answers, unless the service was away for one of them: then the call is made again as a whole."""
    away = next((one for one in answers if isinstance(one, Temporary)), None)
    if away is not None:
        raise away
    return answers
