"""A place in memory that keeps the promises of the seam, and forgets what was not durable when it is crashed."""

import hashlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
from crc32c import crc32c

from dray import fs
from dray.errors import Conflict, NotFound, PieceDamaged, Refused
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.parts import Part, parts, plan_part_size
from dray.model.values import Claim, Entry, Held, Landing, Level, Limits, Proof, Receipt, Ref, Staged
from dray.threads import in_thread
from dray.transports.base import Failure, Piece
from dray.transports.published import each
from dray.transports.refs import Target, published, published_of, ref_of, target_of


@dataclass
class Kept:
    """Published content."""

    path: RemotePath
    data: bytes
    mtime_ns: int
    tag: str

    def entry(self) -> Entry:
        """Describe it."""
        return Entry(self.path, len(self.data), self.mtime_ns, tag=self.tag, ref=published(self.path, self.tag))


@dataclass
class Arriving:
    """Staged content; ``durable`` is said of files of one piece, parts are durable when they are held."""

    data: bytearray
    held: dict[int, Held] = field(default_factory=dict)
    durable: bool = False


class Memory:
    """A place that lives as long as this object; sessions come and go."""

    def __init__(self, limits: Limits | None = None, name: str = "memory") -> None:
        self.limits = limits or Limits()
        self.name = name
        self.files: dict[str, Kept] = {}
        self.older: dict[str, list[Kept]] = {}
        self.staged: dict[Ref, Arriving] = {}
        self.tags = itertools.count(1)

    def crash(self) -> None:
        """Lose what was not durable, as in a power cut."""
        for ref, arriving in list(self.staged.items()):
            if target_of(ref).size <= self.limits.piece and not arriving.durable:
                del self.staged[ref]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["MemorySession"]:
        """Open a session."""
        yield MemorySession(self)


class MemorySession:
    """See ``Session``."""

    def __init__(self, place: Memory) -> None:
        self.limits = place.limits
        self.place = place

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield what is below a folder (``prefix``), in path order."""
        for path in sorted(self.place.files):
            if not prefix or path.startswith(f"{prefix}/"):
                yield self.place.files[path].entry()

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Begin or resume."""
        return each(landings, self._stage)

    def _stage(self, landing: Landing) -> Staged:
        target = target_of(ref_of(landing))
        staged = Staged(target.ref, target.path, target.size, plan_part_size(target.size, self.limits))
        final = self.place.files.get(target.path)
        self._check_free(target.path)
        if final is not None and len(final.data) == target.size:
            if landing.checksum is None:
                return msgspec.structs.replace(staged, hash_first=True)
            if _sha256(final.data) == landing.checksum:
                return msgspec.structs.replace(staged, done=True)
        if final is not None and landing.on_exists == "fail":
            raise Conflict("there is another file with this name")
        if self._is_whole(target):
            return staged
        arriving = self.place.staged.setdefault(target.ref, Arriving(bytearray(target.size)))
        return msgspec.structs.replace(staged, held=tuple(arriving.held[number] for number in sorted(arriving.held)))

    def _is_whole(self, target: Target) -> bool:
        return target.size <= self.limits.piece

    def _check_free(self, path: RemotePath) -> None:
        """Refuse what a tree of files and folders cannot hold."""
        above = [path[:index] for index, letter in enumerate(path) if letter == "/"]
        if any(one in self.place.files for one in above):
            raise Conflict("a file has the name of one of its folders")
        if any(other.startswith(f"{path}/") for other in self.place.files):
            raise Conflict("a folder has this name")

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Write pieces."""
        return await in_thread(None, each, pieces, self._write)

    def _write(self, piece: Piece) -> Receipt:
        target = target_of(piece.ref)
        part = Part(piece.number, piece.offset, piece.at.length)
        if self._is_whole(target):
            self.place.staged[piece.ref] = Arriving(bytearray())
        arriving = self.place.staged.get(piece.ref)
        if arriving is None:
            raise NotFound("nothing is staged under this ref")
        if part not in parts(target.size, plan_part_size(target.size, self.limits)):
            raise Refused(f"there is no part {part.number} of {part.length} bytes at {part.offset}")
        held = arriving.held.get(part.number)
        if held is not None and held.crc32c != piece.crc32c:
            raise Conflict(f"part {part.number} is held with other bytes")
        if held is None:
            self._fill(target, arriving, piece)
        level: Level = "service" if self._is_whole(target) else "durable"
        return Receipt(piece.ref, part.number, part.length, piece.crc32c or 0, level)

    def _fill(self, target: Target, arriving: Arriving, piece: Piece) -> None:
        data = b"".join(bytes(view) for view in fs.pieces_of(piece.at, memoryview(bytearray(fs.BUFFER))))
        if piece.crc32c not in (None, crc32c(data)):
            self._drop_whole(target)
            raise PieceDamaged(f"part {piece.number} arrived with other bytes than were sent")
        arriving.data[piece.offset : piece.offset + len(data)] = data
        if not self._is_whole(target):
            arriving.held[piece.number] = Held(piece.number, piece.offset, len(data), crc32c(data))

    def _drop_whole(self, target: Target) -> None:
        if self._is_whole(target):
            del self.place.staged[target.ref]

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Copy ranges of published files."""
        return await in_thread(None, each, pieces, self._read)

    def _read(self, piece: Piece) -> Receipt:
        data = self._find(piece.ref).data[piece.offset : piece.offset + piece.at.length]
        fs.DISK.pwrite(piece.at.file, data, piece.at.offset)
        if piece.crc32c not in (None, crc32c(data)):
            raise PieceDamaged("the bytes are not what they were said to be")
        return Receipt(piece.ref, piece.number, len(data), crc32c(data), "service")

    def _find(self, ref: Ref) -> Kept:
        found = published_of(ref)
        if found is None:
            raise Refused("not a ref of a published file")
        path, tag = found
        for kept in self._all(path):
            if tag in ("", kept.tag):
                return kept
        raise NotFound("there is no such file")

    def _all(self, path: str) -> "Sequence[Kept]":
        final = self.place.files.get(path)
        return ([final] if final else []) + self.place.older.get(path, [])

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Make durable and say what is there."""
        return await in_thread(None, each, claims, self._verify)

    def _verify(self, claim: Claim) -> Proof:
        if published_of(claim.ref) is not None:
            kept = self._find(claim.ref)
            return self._proof(claim, kept.data, kept.tag)
        arriving = self.place.staged.get(claim.ref)
        if arriving is not None:
            arriving.durable = True
            return self._proof(claim, bytes(arriving.data), "")
        final = [kept for kept in self._all(target_of(claim.ref).path) if len(kept.data) == claim.size]
        if not final:
            raise NotFound("nothing of this size is staged or published under this ref")
        same = [kept for kept in final if _sha256(kept.data) == claim.checksum]
        return self._proof(claim, (same or final)[0].data, (same or final)[0].tag)

    def _proof(self, claim: Claim, data: bytes, tag: str) -> Proof:
        return Proof(claim.ref, len(data), _sha256(data), tag, self.place.name, "durable")

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Give staged files their final names."""
        return each([target_of(ref) for ref in staged], self._publish)

    def _publish(self, target: Target) -> Entry:
        final = self.place.files.get(target.path)
        arriving = self.place.staged.get(target.ref)
        if arriving is None:
            if final is None or len(final.data) != target.size:
                raise NotFound("nothing is staged under this ref")
            return final.entry()
        self._check_free(target.path)
        if final is not None and target.on_exists == "fail":
            raise Conflict("there is another file with this name")
        if final is not None and target.on_exists == "version":
            self.place.older.setdefault(target.path, []).insert(0, final)
        kept = Kept(target.path, bytes(arriving.data), target.mtime_ns or 0, f"{next(self.place.tags):x}")
        self.place.files[target.path] = kept
        del self.place.staged[target.ref]
        return kept.entry()

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Remove what is staged, or what is published, whichever the ref names."""
        return each(refs, self._remove)

    def _remove(self, ref: Ref) -> None:
        found = published_of(ref)
        if found is None:
            self.place.staged.pop(ref, None)
            return
        path, tag = found
        final = self.place.files.get(path)
        if final is not None and tag in ("", final.tag):
            del self.place.files[path]
        self.place.older[path] = [kept for kept in self.place.older.get(path, []) if kept.tag != tag]


def _sha256(data: bytes | bytearray) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())
