"""A session whose listing knows digests that its place does not keep: they are computed there, many at a time."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.values import Claim, Entry
from dray.transports.base import Session
from dray.transports.wrappers import Wrapper

PAGE = 256
_UNKNOWN = Checksum("sha256", "0" * 64)


class Proved(Wrapper):
    """Adds to each entry the checksum that the place proves; one that cannot be read has none.

    With ``noted`` a checksum that the place noted when the file arrived is passed on as it is.
    """

    def __init__(self, inner: Session, *, noted: bool = True) -> None:
        super().__init__(inner)
        self._noted = noted

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
        unknown = [one for one in page if one.checksum is None or not self._noted]
        proofs = await self.inner.verify([Claim(one.ref, one.size, _UNKNOWN) for one in unknown]) if unknown else ()
        found = {
            entry.ref: None if isinstance(proof, DrayError) else proof.checksum
            for entry, proof in zip(unknown, proofs, strict=True)
        }
        return [
            msgspec.structs.replace(entry, checksum=found[entry.ref]) if entry.ref in found else entry for entry in page
        ]
