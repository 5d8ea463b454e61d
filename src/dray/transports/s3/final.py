"""The final names of a bucket, and the older contents that it keeps.

An object gets its final name by a copy at the service: readers see the old content or the new one, never a part of it.
"""

from collections.abc import AsyncIterator, Iterable, Sequence

from dray.errors import Conflict, DrayError, LimitReached, NotFound, Refused, SourceChanged
from dray.model.checksum import Checksum
from dray.model.names import RemotePath, refusal
from dray.model.parts import Part, parts
from dray.model.values import Entry, Value
from dray.transports.refs import Target, published
from dray.transports.s3 import answers
from dray.transports.s3.answers import Listed, Seen
from dray.transports.s3.bucket import Bucket
from dray.transports.s3.crowd import Crowd
from dray.transports.s3.layout import Layout
from dray.transports.s3.sign import Pairs

LARGEST_COPY = 5 << 30
"""Bytes that AWS copies with one request; others copy more."""
COPIED_PART = 1 << 30


class Verified(Value, frozen=True):
    """What was read of staged bytes: the object ``tag`` under ``key`` has this checksum."""

    key: str
    tag: str
    size: int
    checksum: Checksum | None = None


class Final:
    """Works on final names. ``keep`` says whether ``version`` keeps the older content."""

    def __init__(self, bucket: Bucket, layout: Layout, crowd: Crowd, *, keep: bool) -> None:
        self._bucket = bucket
        self._layout = layout
        self._crowd = crowd
        self._keep = keep
        self._folders: set[str] = set()

    async def look(self, path: RemotePath) -> Seen | None:
        """Look at the final name."""
        return await self._bucket.look(self._layout.final(path))

    async def check_free(self, path: RemotePath) -> None:
        """Raise Conflict where a file could not be beside the others on a disk: a folder has its name, or it lies in a
        file."""
        if await self._bucket.has(f"{self._layout.final(path)}/"):
            raise Conflict("a folder has this name")
        await self.check_above(path)

    async def check_above(self, path: RemotePath) -> None:
        """Raise Conflict where a file has the name of a folder above."""
        folder = path.parent
        while folder and folder not in self._folders:
            if await self._bucket.look(self._layout.final(folder)) is not None:
                raise Conflict("a file has the name of the folder", item=path)
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]

    # Publish

    async def place(self, target: Target, verified: Verified) -> Entry:
        """Give staged bytes their final name."""
        if target.on_exists == "fail" or (target.on_exists == "version" and self._keep):
            seen = await self.look(target.path)
            if seen is not None and seen.staged == target.name and seen.size == target.size:
                return entry(target.path, seen)
            if seen is not None:
                await self._make_room(target, seen)
        final = self._layout.final(target.path)
        headers = (*_metadata(target, verified.checksum), *_unless(target))
        tag = await self._copy(verified, final, headers)
        if tag and target.mtime_ns is not None:
            ref = published(target.path, tag)
            return Entry(target.path, verified.size, target.mtime_ns, verified.checksum, tag, ref=ref)
        placed = await self._bucket.look(final)
        if placed is None:
            raise NotFound("somebody removed it as soon as it was published")
        return entry(target.path, placed)

    async def already(self, target: Target) -> Entry:
        """Answer for a file that was published before a crash."""
        seen = await self.look(target.path)
        if seen is not None and seen.size == target.size:
            return entry(target.path, seen)
        raise NotFound("nothing is staged under this ref")

    async def _make_room(self, target: Target, seen: Seen) -> None:
        if target.on_exists == "fail":
            raise Conflict("there is another file with this name", hint="nothing was changed")
        final, older = self._layout.final(target.path), self._layout.older(target.path) + seen.tag
        await self._copy(Verified(final, seen.tag, seen.size), older, ())

    async def move(self, source: str, path: RemotePath) -> None:
        """Give an object another name: first a copy with all that was noted of it, then the old name goes."""
        seen = await self._bucket.look(source)
        if seen is not None:
            await self._copy(Verified(source, seen.tag, seen.size), self._layout.final(path), ())
            await self._bucket.delete(source)

    async def _copy(self, source: Verified, target: str, metadata: Pairs) -> str:
        """Copy an object, in parts where it is too large for one request; return its ETag where the service tells."""
        pinned = (("x-amz-copy-source-if-match", f'"{source.tag}"'),)
        try:
            return await self._bucket.copy(source.key, target, (*pinned, *metadata))
        except (Refused, LimitReached):
            if source.size <= LARGEST_COPY:
                raise
            await self._copy_parts(source, target, metadata)
            return ""

    async def _copy_parts(self, source: Verified, target: str, metadata: Pairs) -> None:
        """Copy an object in parts; what an interrupted copy left is given up first."""
        kept = tuple(pair for pair in metadata if pair[0].startswith("x-amz-meta-"))
        await self._give_up_copies(source, target)
        upload = await self._bucket.begin(target, kept)
        await self._bucket.put(f"{source.key.rpartition('/')[0]}/copy-{upload}", ())

        async def copy(part: Part) -> tuple[int, str]:
            number, begin, length = part
            headers = (("x-amz-copy-source-range", f"bytes={begin}-{begin + length - 1}"),)
            query = (("partNumber", str(number)), ("uploadId", upload))
            return number, await self._bucket.copy(source.key, target, headers, query)

        copied = await self._crowd.each(parts(source.size, COPIED_PART), copy)
        for failed in copied:
            if isinstance(failed, DrayError):
                await self._bucket.abort(target, upload)
                raise failed
        await self._bucket.complete(target, upload, dict(one for one in copied if not isinstance(one, DrayError)))

    async def _give_up_copies(self, source: Verified, target: str) -> None:
        """Give up the copies that killed processes began: each is noted beside what it copies."""
        begin = f"{source.key.rpartition('/')[0]}/copy-"
        async for one in self._bucket.objects(begin):
            await self._bucket.abort(target, one.key.removeprefix(begin))

    # Read, list, remove

    async def find(self, path: RemotePath, tag: str) -> tuple[str, Seen]:
        """Return where a published file is, with ``tag`` this content of it, wherever newer content pushed it."""
        key = self._layout.final(path)
        seen = await self._bucket.look(key)
        if seen is not None and tag in ("", seen.tag):
            return key, seen
        older = self._layout.older(path) + tag
        kept = await self._bucket.look(older) if tag else None
        if kept is None:
            raise (NotFound if seen is None else SourceChanged)("this content is not here any more")
        return older, kept

    async def candidates(self, path: RemotePath, size: int) -> list[tuple[str, Seen]]:
        """Return what may be content of this size that was published: the final name, then older contents."""
        keys = [self._layout.final(path)]
        keys += [one.key async for one in self._bucket.objects(self._layout.older(path)) if one.size == size]
        seen = [(key, await self._bucket.look(key)) for key in keys]
        return [(key, one) for key, one in seen if one is not None and one.size == size]

    async def remove(self, path: RemotePath, tag: str) -> None:
        """Remove a published file, with ``tag`` this content of it only."""
        try:
            key, _ = await self.find(path, tag)
        except (NotFound, SourceChanged):
            return
        await self._bucket.delete(key)

    async def entries(self, prefix: str, page: int) -> AsyncIterator[list[Entry]]:
        """Yield pages of what is published below a folder, each object looked at: lists tell no times of files."""
        found: list[Listed] = []
        begin = self._layout.top + (f"{prefix}/" if prefix else "")
        async for one in self._bucket.objects(begin):
            if refusal(self._layout.below(one.key)) is None:
                found.append(one)
            if len(found) == page:
                yield await self._looked(found)
                found = []
        yield await self._looked(found)

    async def _looked(self, found: Sequence[Listed]) -> list[Entry]:
        seen = await self._crowd.each((one.key for one in found), self._bucket.look)
        failed = next((one for one in seen if isinstance(one, DrayError)), None)
        if failed is not None:
            raise failed
        paths = (RemotePath(self._layout.below(one.key)) for one in found)
        return [entry(path, one) for path, one in zip(paths, seen, strict=True) if isinstance(one, Seen)]

    async def survey(self, folder: str, names: Iterable[str]) -> frozenset[str] | None:
        """Return names that are in a folder, those of folders with a slash; None: there are too many, look at each."""
        begin = self._layout.top + (f"{folder}/" if folder else "")
        found = await self._bucket.beside(begin, f"{begin}{max(names)}/")
        return None if found is None else frozenset(name.removeprefix(begin) for name in found)


def entry(path: RemotePath, seen: Seen) -> Entry:
    """Describe a published file."""
    return Entry(path, seen.size, seen.mtime_ns, seen.checksum, seen.tag, ref=published(path, seen.tag))


def _metadata(target: Target, checksum: Checksum | None) -> Pairs:
    mtime = () if target.mtime_ns is None else ((answers.MTIME, answers.mtime_text(target.mtime_ns)),)
    digest = () if checksum is None else ((answers.SHA256, checksum.hex),)
    return (("x-amz-metadata-directive", "REPLACE"), *mtime, *digest, (answers.STAGED, target.name))


def _unless(target: Target) -> Pairs:
    """Say that nothing may be replaced, to services that know of that."""
    return (("If-None-Match", "*"),) if target.on_exists == "fail" else ()
