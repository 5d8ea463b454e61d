"""What this user's machine remembers of its own moves: where local paths went, and digests of files it has read.

A small SQLite file in the state directory. Losing it costs time only: digests are computed again, and ``dray safe`` is
told the destination by ``--to``. A digest counts for the very version (device, inode, size, mtime, ctime) it was read
from, and none is kept of a file that changed so recently that a further change could leave the same times behind.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dray.errors import DrayError, NoSpace, Permanent
from dray.model.checksum import Checksum
from dray.model.values import Value

MOST_DIGESTS = 1_000_000
QUIET = 3.0
"""Seconds that a file must have rested before its digest is kept; some file systems count time in steps of two."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
    local TEXT NOT NULL, server TEXT NOT NULL, dataset TEXT NOT NULL, path TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (local, server, dataset, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digests (version TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL);
"""
_REMEMBER = "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?)"
_SENT = "SELECT local, server, dataset, path, at FROM sent WHERE local = ? ORDER BY at DESC"
_KEEP = "INSERT OR REPLACE INTO digests VALUES (?, ?)"
_DIGEST = "SELECT sha256 FROM digests WHERE version = ?"
_TRIM = "DELETE FROM digests WHERE rowid <= (SELECT max(rowid) FROM digests) - ?"


class Sent(Value, frozen=True):
    """A local file or directory (absolute) was sent to this path (empty: the top) of a dataset."""

    local: str
    server: str
    dataset: str
    path: str
    at: float


class Known:
    """The open file; any thread may use it, and several processes at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sql = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute("PRAGMA synchronous=NORMAL")
            self._sql.executescript(_SCHEMA)

    def __enter__(self) -> "Known":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._sql.close()

    def remember(self, sent: Iterable[Sent]) -> None:
        """Note where things are being sent."""
        with self._transaction():
            self._sql.executemany(_REMEMBER, ((_text(s.local), s.server, s.dataset, s.path, s.at) for s in sent))

    def destinations(self, local: str) -> list[Sent]:
        """Return where a path itself was sent, the latest first."""
        with self._translated():
            rows = self._sql.execute(_SENT, (_text(local),)).fetchall()
        return [Sent(local, *row[1:]) for row in rows]

    def digest(self, version: str) -> Checksum | None:
        """Return the digest of a version of a file that was read before."""
        with self._translated():
            found = self._sql.execute(_DIGEST, (version,)).fetchone()
        return Checksum("sha256", found[0].hex()) if found else None

    def keep(self, digests: Mapping[str, Checksum], now: float) -> None:
        """Keep digests by version (SourceVersion.token), those of files that changed a moment ago left out."""
        rows = [(version, bytes.fromhex(digest.hex)) for version, digest in digests.items() if rested(version, now)]
        with self._transaction():
            self._sql.executemany(_KEEP, rows)
            self._sql.execute(_TRIM, (MOST_DIGESTS,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translated():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._sql.execute("COMMIT")
            finally:
                if self._sql.in_transaction:
                    self._sql.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> DrayError:
        item = str(self._path)
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            return NoSpace("no space left to note what was sent", item=item, hint="free some and run it again")
        return Permanent(f"the notes of what was sent cannot be used: {error}", item=item, hint="remove the file")


def rested(version: str, now: float) -> bool:
    """Say whether a file of this version (SourceVersion.token) has not changed for a while."""
    *_, mtime, ctime = version.split("-")
    return now - max(int(mtime, 16), int(ctime, 16)) / 1e9 > QUIET


def _text(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def with_folders(path: str) -> list[str]:
    """Return an absolute path and the folders it lies in, the nearest first."""
    return [path, *map(str, Path(path).parents)]
