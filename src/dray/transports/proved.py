"""A session whose listing knows digests that its place does not keep: they are computed there, many at a time."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.values import Claim, Entry
from dray.transports.wrappers import Wrapper

PAGE = 256
_UNKNOWN = Checksum("sha256", "0" * 64)


class Proved(Wrapper):
    """Adds to each entry the checksum that the place proves; one that cannot be read has none."""

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """See ``Session``."""
        page: list[Entry] = []
        async for entry in self.inner.list(prefix):
            page.append(entry)
            if len(page) == PAGE:
                for one in await self._proved(page):
                    yield one
                page = []
        for one in await self._proved(page):
            yield one

    async def _proved(self, page: Sequence[Entry]) -> Sequence[Entry]:
        proofs = await self.inner.verify([Claim(one.ref, one.size, _UNKNOWN) for one in page]) if page else ()
        return [
            entry if isinstance(proof, DrayError) else msgspec.structs.replace(entry, checksum=proof.checksum)
            for entry, proof in zip(page, proofs, strict=True)
        ]
