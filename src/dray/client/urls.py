"""Signed URLs, asked for ahead and in batches, so that a part does not cost a request of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from dray.clock import Clock
from dray.errors import DrayError
from dray.model.values import Value
from dray.model.views import SignedUrl

LIFE = 300.0
"""Seconds a URL is used: less than the server allows, on a clock of our own."""

Key = tuple[int, int]
Ask = Callable[[Sequence[Key]], Awaitable[Sequence[SignedUrl | DrayError]]]


class _Kept(Value, frozen=True):
    until: float
    url: SignedUrl


class SignedUrls:
    """Keeps URLs by key until they are used or too old; asks the server in one call at a time."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: dict[Key, _Kept] = {}
        self._asking = asyncio.Lock()

    async def get(self, key: Key, ahead: Sequence[Key] = ()) -> SignedUrl:
        """Return the URL of ``key``, asking for those ``ahead`` too when it is not there; raises its failure."""
        async with self._asking:
            kept = self._kept.get(key)
            if kept is None or kept.until < self._clock.monotonic():
                return await self._fetch(key, ahead)
            return kept.url

    def drop(self, key: Key) -> None:
        """Forget a URL that is not needed again."""
        self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget all, because the server called one too old."""
        self._kept.clear()

    async def _fetch(self, key: Key, ahead: Sequence[Key]) -> SignedUrl:
        keys = [key, *ahead]
        first, *others = await self._ask(keys)
        now = self._clock.monotonic()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until >= now}
        for other, url in zip(ahead, others, strict=True):
            if isinstance(url, SignedUrl):
                self._kept[other] = _Kept(now + LIFE, url)
        if isinstance(first, DrayError):
            raise first
        self._kept[key] = _Kept(now + LIFE, first)
        return first
