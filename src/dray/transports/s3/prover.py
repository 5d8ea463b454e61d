"""Says what a bucket holds, by reading it."""

import hashlib

from dray.errors import DrayError, NotFound, Refused
from dray.model.checksum import Checksum
from dray.model.values import Claim, Proof, Ref
from dray.transports.refs import Target, published_of, target_of
from dray.transports.s3.answers import Seen
from dray.transports.s3.arriving import Arriving
from dray.transports.s3.bucket import Ask, Bucket
from dray.transports.s3.final import Final, Verified

REMEMBERED = 4096


class Reading:
    """A digest of an object as far as it was read; a connection that broke does not begin it anew."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.done = 0

    def take(self, data: memoryview) -> None:
        """Add bytes."""
        self._sha256.update(data)
        self.done += len(data)

    @property
    def hex(self) -> str:
        """Return the digest."""
        return self._sha256.hexdigest()


class Prover:
    """Proves staged and published files, and remembers what of the staged was proved."""

    def __init__(self, bucket: Bucket, arriving: Arriving, final: Final) -> None:
        self._bucket = bucket
        self._arriving = arriving
        self._final = final
        self._reading: dict[tuple[str, str], Reading] = {}
        self._verified: dict[Ref, Verified] = {}

    async def prove(self, claim: Claim) -> Proof:
        """Read the file of a claim and say what is there."""
        if claim.checksum.algorithm != "sha256":
            raise Refused(f"{claim.checksum.algorithm} is not recomputed here", hint="claim a sha256")
        known = published_of(claim.ref)
        if known is not None:
            return self._proof(claim, *await self._read(*await self._final.find(*known)))
        target = target_of(claim.ref)
        staged = await self._arriving.whole(target)
        if staged is None:
            return await self._elsewhere(claim, target)
        seen, checksum = await self._read(*staged)
        self._remember(claim.ref, Verified(staged[0], seen.tag, seen.size, checksum))
        return self._proof(claim, seen, checksum)

    async def _elsewhere(self, claim: Claim, target: Target) -> Proof:
        """Prove a file that is not staged any more: the content that has the claimed digest, else the first."""
        first: Proof | None = None
        for key, seen in await self._final.candidates(target.path, claim.size):
            proof = self._proof(claim, *await self._read(key, seen))
            first = first or proof
            if proof.checksum == claim.checksum:
                return proof
        if first is None:
            raise NotFound("nothing of this size is staged or published under this ref")
        return first

    async def content(self, key: str, seen: Seen) -> Checksum:
        """Return what an object has: as Dray noted when it was published, else by reading it."""
        return seen.checksum or (await self._read(key, seen))[1]

    async def _read(self, key: str, seen: Seen) -> tuple[Seen, Checksum]:
        """Read an object, on from where it broke off the last time."""
        name = (key, seen.tag)
        reading = self._reading.pop(name, None) or Reading()
        try:
            if reading.done < seen.size:
                headers = (("Range", f"bytes={reading.done}-{seen.size - 1}"), ("If-Match", f'"{seen.tag}"'))
                await self._bucket.send(Ask("GET", key, (), headers, take=reading.take))
        except DrayError:
            self._reading[name] = reading
            raise
        return seen, Checksum("sha256", reading.hex)

    def _proof(self, claim: Claim, seen: Seen, checksum: Checksum) -> Proof:
        by = f"read back from {self._bucket.settings.name}"
        return Proof(claim.ref, seen.size, checksum, seen.tag, by, "service")

    def _remember(self, ref: Ref, verified: Verified) -> None:
        self._verified[ref] = verified
        if len(self._verified) > REMEMBERED:
            self._verified.pop(next(iter(self._verified)))

    def verified(self, ref: Ref) -> Verified | None:
        """Return what was proved of staged bytes, which is used once."""
        return self._verified.pop(ref, None)
