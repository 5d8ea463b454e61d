"""What a local directory has under the names of files of another place."""

import stat
from collections.abc import Sequence
from typing import Literal, Protocol

from dray import fs
from dray.errors import DrayError
from dray.moving.item import Item
from dray.moving.reread import Asked, Now, Reader
from dray.threads import in_thread

State = Literal["missing", "same", "other", "no file"]


class Local(Protocol):
    """A local directory, or one that is yet to be made."""

    async def compare(self, items: Sequence[Item]) -> list[State | DrayError]:
        """Say what has the name of each item now; a failure where that cannot be told."""


class Nowhere:
    """A directory that is not there yet."""

    async def compare(self, items: Sequence[Item]) -> list[State | DrayError]:
        """Say that everything is missing."""
        return ["missing" for _ in items]


class Here:
    """Compares by size, then by digest; links are not followed."""

    def __init__(self, root: fs.Root, reader: Reader) -> None:
        self._root = root
        self._reader = reader

    async def compare(self, items: Sequence[Item]) -> list[State | DrayError]:
        """Say what has the name of each item now; a failure where that cannot be told."""
        looks = await in_thread(None, self._look, items)
        like = [item for item, look in zip(items, looks, strict=True) if look is None]
        nows = await self._reader.read([Asked(item.path, item.path, item.size) for item in like])
        judged = iter([_judge(*pair) for pair in zip(like, nows, strict=True)])
        return [next(judged) if look is None else look for look in looks]

    def _look(self, items: Sequence[Item]) -> list[State | DrayError | None]:
        with fs.Folders(self._root) as folders:
            return [self._look_at(folders, item) for item in items]

    def _look_at(self, folders: fs.Folders, item: Item) -> State | DrayError | None:
        """Return None for a file of the same size, which has to be read."""
        try:
            seen = folders.at(item.path.parent).stat(item.path.name)
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return fs.failure(error)
        if seen is None:
            return "missing"
        if not stat.S_ISREG(seen.st_mode):
            return "no file"
        return None if seen.st_size == item.size else "other"


def _judge(item: Item, now: Now | DrayError) -> State | DrayError:
    if isinstance(now, DrayError):
        return now
    return "same" if now.checksum == item.checksum else "other"
