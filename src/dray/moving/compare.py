"""``dray check``: a local tree and a folder of a place, name by name; content is compared by digest, never by time."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal

from dray.errors import DrayError
from dray.model.names import RemotePath
from dray.model.values import Entry, Value
from dray.moving.chunks import in_chunks
from dray.moving.here import Here, State
from dray.moving.item import Item
from dray.moving.walk import Found, Skipped, Tree, Walk
from dray.transports.base import Session

Symbol = Literal["=", "-", "+", "*", "!"]
"""Same; only at the place; only local; different content; could not be compared."""

PAGE = 1000

Expect = Callable[[int, int], None]
"""Is told how many more files and bytes are to be compared."""


class Compared(Value, frozen=True):
    """One name on either side; ``path`` is below what is compared."""

    symbol: Symbol
    path: str
    reason: str = ""
    size: int | None = None


FOUND: dict[State, tuple[Symbol, str]] = {
    "same": ("=", ""),
    "missing": ("-", "not in the local tree"),
    "other": ("*", "the content differs"),
    "no file": ("!", "what has this name here is no file"),
}


class Comparison:
    """Compares what ``walk`` finds in ``tree`` with what ``place`` has below the tree's prefix."""

    def __init__(self, tree: Tree, walk: Walk, place: Session, here: Here, expect: Expect) -> None:
        self._tree = tree
        self._walk = walk
        self._place = place
        self._here = here
        self._expect = expect
        self._there: set[str] = set()

    async def run(self) -> AsyncGenerator[Compared, None]:
        """Yield what the place has, compared, then what is only local."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for item, state in zip(page, await self._here.compare(page), strict=True):
                    yield self._compared(item, state)
        async with aclosing(self._only_here()) as rest:
            async for one in rest:
                yield one

    async def _pages(self) -> AsyncGenerator[list[Item], None]:
        page: list[Item] = []
        tree = self._tree
        for prefix in [tree.prefix] if tree.names is None else [path for _, path in tree.names]:
            async for entry in self._place.list(prefix):
                page += self._wanted(entry)
                if len(page) >= PAGE:
                    yield page
                    page = []
        yield page

    def _wanted(self, entry: Entry) -> list[Item]:
        local = self._local(entry.path)
        if local is None or not self._walk.rules.takes(local):
            return []
        self._there.add(local)
        self._expect(1, entry.size)
        return [Item(local, entry.size, entry.tag, entry.ref, checksum=entry.checksum)]

    def _local(self, path: str) -> RemotePath | None:
        """Return where a file of the place would be in the tree; None where it is not about this tree."""
        if self._tree.names is not None:
            return next((RemotePath(name) for name, there in self._tree.names if there == path), None)
        below = path.removeprefix(f"{self._tree.prefix}/") if self._tree.prefix else path
        return RemotePath(below) if below != path or not self._tree.prefix else None

    def _compared(self, item: Item, state: State | DrayError) -> Compared:
        if isinstance(state, DrayError):
            return Compared("!", item.path, state.message, item.size)
        symbol, reason = FOUND[state]
        return Compared(symbol, item.path, reason, item.size)

    async def _only_here(self) -> AsyncGenerator[Compared, None]:
        async with aclosing(in_chunks(self._walk.run(self._tree))) as chunks:
            async for chunk in chunks:
                for one in chunk:
                    if isinstance(one, Found) and one.origin not in self._there:
                        yield Compared("+", one.origin, "not at the place", one.size)
                    elif isinstance(one, Skipped) and one.cause != "filtered":
                        yield Compared("!", one.path, one.reason)
