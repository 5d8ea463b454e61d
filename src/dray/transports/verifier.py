"""Reads again what a posix place holds, after it was made durable, and says what is there."""

import hashlib
import os
from collections.abc import Sequence

from dray import fs
from dray.errors import DrayError, NotFound, Refused
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Claim, Proof
from dray.transports.ahead import Ahead, Reading
from dray.transports.published import Published, each
from dray.transports.refs import Target, published_of, tag_of, target_of
from dray.transports.staging import Staging


def sha256(fd: int, buffer: memoryview) -> tuple[int, Checksum]:
    """Read a whole file and return its size and digest."""
    digest, size = hashlib.sha256(), 0
    while count := fs.read_into(fd, buffer, size):
        digest.update(buffer[:count])
        size += count
        if count < len(buffer):
            break
    return size, Checksum("sha256", digest.hexdigest())


Proved = tuple[Proof, os.stat_result]
"""What was read, and the file as it was when that began."""


class Verifier:
    """Proves staged and published files. Calls block.

    ``older`` says whether an older content of a path can be what arrived; where a catalogue knows what every version
    is, it is not: what was never sent again must not be taken for there.
    """

    def __init__(self, staging: Staging, published: Published, by: str, *, older: bool) -> None:
        self.staging = staging
        self.ahead = Ahead(staging)
        staging.followed, staging.forgotten = self.ahead.follow, self.ahead.forget
        self.published = published
        self.by = by
        self.older = older

    def verify(self, claims: Sequence[Claim]) -> list[Proof | DrayError]:
        """Make the files of all claims durable in as few calls as possible, then prove each."""
        self.staging.sync([found for claim in claims if (found := self._staged(claim)) is not None])
        buffer = memoryview(bytearray(fs.BUFFER))
        return each(claims, lambda claim: self._prove(claim, buffer))

    def _staged(self, claim: Claim) -> Target | None:
        if published_of(claim.ref) is not None:
            return None
        target = target_of(claim.ref)
        return target if self.staging.stat(target) is not None else None

    def _prove(self, claim: Claim, buffer: memoryview) -> Proof:
        if claim.checksum.algorithm != "sha256":
            raise Refused(f"{claim.checksum.algorithm} is not recomputed here", hint="claim a sha256")
        known = published_of(claim.ref)
        if known is not None:
            return self._prove_published(claim, known[0], buffer, older=True)[0]
        target = target_of(claim.ref)
        with self.staging.guard.take(target.name):
            try:
                fd = self.staging.folder(target).open_read(target.name)
            except FileNotFoundError:
                proof, seen = self._prove_published(claim, target.path, buffer, older=self.older)
            else:
                try:
                    proof, seen = self._read(claim, fd, buffer, self.ahead.taken(target))
                finally:
                    os.close(fd)
            self.published.note_verified(target, seen)
            return proof

    def _prove_published(self, claim: Claim, path: RemotePath, buffer: memoryview, *, older: bool) -> Proved:
        """Prove the content under the final name or an older version, whichever has the claimed digest."""
        first = None
        for fd, folder, name in self.published.candidates(path, claim.size, older=older):
            with fs.Folders(self.published.root) as folders:
                folders.sync([(folder, name)])
            proved = self._read(claim, fd, buffer)
            if proved[0].checksum == claim.checksum:
                return proved
            first = first or proved
        if first is None:
            raise NotFound("nothing of this size is staged or published under this ref")
        return first

    def _read(self, claim: Claim, fd: int, buffer: memoryview, begun: Reading | None = None) -> Proved:
        seen = os.fstat(fd)
        if self.staging.may_be_lost(seen):
            size, checksum = (begun or Reading()).finish(fd, seen.st_size)
        else:
            size, checksum = sha256(fd, buffer)
        return Proof(claim.ref, size, checksum, tag_of(seen), self.by, "durable"), seen
