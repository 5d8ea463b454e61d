"""The oracle's own reader of a data directory: what is really on the disk, hashed again, without a line of Dray.

The layout is the one that docs/architecture.md promises: ``store/<dataset>/<path>``, older contents below
``store/.dray/versions/<2 hex>/<32 hex of the key's sha256>/``.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

BLOCK = 1 << 20
RESERVED = ".dray"


class Stored(NamedTuple):
    """Bytes under a final name, or an older content kept for ``key`` (its hashed name when ``kept``)."""

    key: str
    size: int
    sha256: str
    kept: bool = False


def digest(path: Path) -> tuple[int, str]:
    """Return size and sha256 of what a file holds now."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
            size += len(block)
    return size, found.hexdigest()


def hashed(key: str) -> str:
    """Return the name of the folder that keeps older contents of a key."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def staged_name(key: str, upload: int) -> str:
    """Return the name under which an upload's bytes wait."""
    return hashlib.sha256(f"{key}\0upload-{upload}".encode()).hexdigest()[:32] + ".staged"


class Store:
    """One data directory of a server."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.root = data / "store"

    def stored(self) -> list[Stored]:
        """Hash everything under final names and all older contents."""
        return [*self.final(), *self.kept()]

    def final(self) -> list[Stored]:
        """Hash everything under final names."""
        found = [p for p in files_below(self.root) if p.relative_to(self.root).parts[0] != RESERVED]
        return [Stored(p.relative_to(self.root).as_posix(), *digest(p)) for p in found]

    def kept(self) -> list[Stored]:
        """Hash the older contents."""
        return [Stored(p.parent.name, *digest(p), True) for p in files_below(self.root / RESERVED / "versions")]

    def holds(self, key: str, sha256: frozenset[str]) -> str | None:
        """Return None when one of these contents is stored for ``key`` right now, else what is there instead."""
        try:
            seen = [digest(self.root / key)[1]]
        except FileNotFoundError:
            seen = []
        if not sha256.isdisjoint(seen):
            return None
        folder = self.root / RESERVED / "versions" / hashed(key)[:2] / hashed(key)
        seen += [digest(path)[1] for path in files_below(folder)]
        return None if not sha256.isdisjoint(seen) else f"found {', '.join(s[:12] for s in seen) or 'nothing'}"

    def bytes(self) -> int:
        """Return how many bytes lie in inbox and store, whatever they are."""
        return sum(size for _, size in self.changes())

    def changes(self) -> list[tuple[str, int]]:
        """Return names and sizes of all files in inbox and store, to see whether anything happens."""
        return sorted(self._sizes())

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for path in (*files_below(self.data / "inbox"), *files_below(self.root)):
            with suppress(FileNotFoundError):
                yield path.name, path.stat().st_size

    def staged(self) -> list[str]:
        """Return the names of everything that waits or was left behind: staged files and their side files."""
        found = [*files_below(self.data / "inbox"), *files_below(self.root / RESERVED)]
        versions = self.root / RESERVED / "versions"
        return sorted(p.name for p in found if versions not in p.parents and p.name != "lock")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every regular file below a folder; links and folders that vanish meanwhile are left out."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            if path.is_file() and not path.is_symlink():
                yield path
