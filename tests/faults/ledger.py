"""What the test wrote, noted before Dray could see it: the truth that everything else is compared with.

A SQLite file outside every directory of Dray, written by the test alone. A key is ``dataset/path``, the way a file
is called in the store.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS written (
    key TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (key, number)
)
"""


class Written(NamedTuple):
    """One version of one file, ``number`` from 1 in the order they were made."""

    key: str
    number: int
    size: int
    sha256: str
    at: float


class Ledger:
    """Notes versions of files; read by the oracle and the sampler in processes of their own."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self._connection = sqlite3.connect(file, timeout=30, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(SCHEMA)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def note(self, key: str, size: int, sha256: str) -> Written:
        """Note a version; call this before the file has its name where Dray looks."""
        return self.note_all([(key, size, sha256)])[0]

    def note_all(self, versions: Iterable[tuple[str, int, str]]) -> list[Written]:
        """Note many versions in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        rows = [self._row(*version) for version in versions]
        self._connection.execute("COMMIT")
        return rows

    def _row(self, key: str, size: int, sha256: str) -> Written:
        count = self._connection.execute("SELECT coalesce(max(number), 0) FROM written WHERE key = ?", [key])
        row = Written(key, count.fetchone()[0] + 1, size, sha256, time.time())
        self._connection.execute("INSERT INTO written VALUES (?, ?, ?, ?, ?)", row)
        return row

    def versions(self) -> list[Written]:
        """Return everything that was noted, by key and number."""
        rows = self._connection.execute("SELECT * FROM written ORDER BY key, number")
        return [Written(*row) for row in rows]


class Writer:
    """Makes source files: noted in the ledger, written under a name of no interest, then renamed into the tree."""

    def __init__(self, ledger: Ledger, tree: Path, dataset: str) -> None:
        self.ledger, self.tree, self.dataset = ledger, tree, dataset
        self.aside = tree.with_name(f"{tree.name}.aside")
        tree.mkdir(parents=True, exist_ok=True)
        self.aside.mkdir(parents=True, exist_ok=True)

    def key(self, path: str) -> str:
        """Return how the file at ``path`` in the tree is called in the store."""
        return f"{self.dataset}/{path}"

    def write(self, path: str, data: bytes) -> Path:
        """Note a file and put it into the tree in one step, over an older version if there is one."""
        return self.write_all({path: data})[0]

    def write_all(self, files: dict[str, bytes]) -> list[Path]:
        """Write many files, noted together."""
        self.ledger.note_all((self.key(p), len(d), hashlib.sha256(d).hexdigest()) for p, d in files.items())
        return [self._place(path, data) for path, data in files.items()]

    def _place(self, path: str, data: bytes) -> Path:
        aside, final = self.aside / "next", self.tree / path
        aside.write_bytes(data)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside, final)
        return final
