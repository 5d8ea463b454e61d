"""Which keys of a bucket are what: final names, what is staged, and older contents.

Everything that belongs to one version of one path on its way lies below ``<prefix>/.dray/staging/<32 hex>/``: the bytes
as ``data-<part size in hex>`` and, for each durable part of a larger file, an empty ``part-<number>-<crc32c>-<ETag>``.
"""

import re

from dray.model.names import RemotePath
from dray.model.values import Held, Value
from dray.transports.published import versions_of
from dray.transports.refs import Target

STAGING = ".dray/staging/"
_DATA = re.compile(r"data-([0-9a-f]+)")
_PART = re.compile(r"part-([0-9]+)-([0-9a-f]{8})-([^/]+)")


class Mark(Value, frozen=True):
    """Says that a part is there: its bytes have ``crc32c``, and the service calls them ``tag``."""

    number: int
    crc32c: int
    tag: str

    def held(self, size: int, part_size: int) -> Held:
        """Return the range of the part."""
        begin = (self.number - 1) * part_size
        return Held(self.number, begin, min(part_size, size - begin), self.crc32c)


class Layout(Value, frozen=True):
    """The keys below a prefix."""

    prefix: str

    @property
    def top(self) -> str:
        """Return what all keys begin with."""
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def staging(self) -> str:
        """Return what the keys of everything staged begin with."""
        return self.top + STAGING

    def final(self, path: str) -> str:
        """Return the key of a published file."""
        return self.top + path

    def below(self, key: str) -> str:
        """Return a key as seen from the top."""
        return key.removeprefix(self.top)

    def box(self, target: Target) -> str:
        """Return what all keys of an arriving file begin with."""
        return self.box_of(target.name.removesuffix(".staged"))

    def box_of(self, name: str) -> str:
        """Return what all keys of an arriving file begin with, by the name of its box."""
        return f"{self.staging}{name}/"

    def data(self, target: Target, part_size: int) -> str:
        """Return the key of the bytes of an arriving file."""
        return f"{self.box(target)}data-{part_size:x}"

    def mark(self, target: Target, mark: Mark) -> str:
        """Return the key that says that a part is there."""
        return f"{self.box(target)}part-{mark.number}-{mark.crc32c:08x}-{mark.tag}"

    def older(self, path: RemotePath) -> str:
        """Return what the keys of older contents of a path begin with; the rest is their tag."""
        return f"{self.top}{versions_of(path)}/"


def part_size_of(key: str) -> int | None:
    """Return the part size of an upload, by the key of its bytes."""
    found = _DATA.fullmatch(key.rpartition("/")[2])
    return int(found[1], 16) if found else None


def mark_of(key: str) -> Mark | None:
    """Read a mark again."""
    found = _PART.fullmatch(key.rpartition("/")[2])
    return Mark(int(found[1]), int(found[2], 16), found[3]) if found else None
