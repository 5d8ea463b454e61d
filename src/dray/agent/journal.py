"""The journal of one hot directory: what was seen of every file and how far it got, in a SQLite database of its own.

Names are kept as the bytes that the file system has, so that even a name that Dray refuses has its row. ``since``
and the ``due`` of settling files are monotonic seconds of this run, everything else is wall time.
"""

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from dray.agent import schema
from dray.agent.rows import NOTHING, Ended, Key, Queued, Row, Seen, Sighting, Standing, Stated, Tally
from dray.errors import Conflict, DrayError, NoSpace, Permanent
from dray.model.manner import Manner, Order

__all__ = [
    "NOTHING", "Ended", "Journal", "Key", "Queued", "Row", "Seen", "Sighting", "Standing", "Stated", "Tally",
    "snapshot", "standing", "translated",
]  # fmt: skip

LINGER = 2.0
"""Seconds between a deletion here and the same at the destination."""


class Journal:
    """One open journal; used by one thread. Every method belongs into ``transaction``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with translated(path):
            self._sql = sqlite3.connect(path, isolation_level=None, timeout=30.0, cached_statements=64)
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute("PRAGMA synchronous=FULL")
            self._sql.execute("PRAGMA cache_size=-16384")
            self._set_up()

    def close(self) -> None:
        """Close the database; what was not committed never happened."""
        self._sql.close()

    @property
    def inside(self) -> bool:
        """Say whether a transaction is open; an error of the disk ends it early."""
        return self._sql.in_transaction

    @contextmanager
    def part(self) -> Iterator[None]:
        """Keep what is done inside a transaction apart: when it raises, nothing of it stays."""
        with translated(self.path):
            self._sql.execute("SAVEPOINT part")
            try:
                yield
            except BaseException:
                if self.inside:
                    self._sql.execute("ROLLBACK TO part")
                    self._sql.execute("RELEASE part")
                raise
            self._sql.execute("RELEASE part")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit, durably, what is done inside, or nothing of it."""
        with translated(self.path):
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._sql.execute("COMMIT")
            finally:
                if self.inside:
                    self._sql.execute("ROLLBACK")

    def begin(self, mono: float, wall: float, forget: float) -> None:
        """Take up what an earlier run left; files that were gone before ``forget`` are forgotten."""
        for statement in schema.RESUME:
            self._sql.execute(statement, {"mono": mono, "wall": wall, "forget": forget})

    def row(self, key: Key) -> Row | None:
        """Return one row."""
        found = self._sql.execute(schema.ROW, _raw(key)).fetchone()
        return Row(key.name, *found[1:]) if found else None

    def rows(self, folder: str) -> dict[str, Row]:
        """Return what is known of a folder, by name."""
        cursor = self._sql.execute(schema.ROWS, (_bytes(folder),))
        return {(name := _text(values[0])): Row(name, *values[1:]) for values in cursor}

    def folders(self) -> list[str]:
        """Return the folders that have rows, or had."""
        return [_text(path) for (path,) in self._sql.execute(schema.FOLDERS)]

    def put(self, sightings: Sequence[Sighting]) -> None:
        """Write what looks found."""
        self._sql.executemany(schema.ADD_FOLDER, {(_bytes(s.key.folder),) for s in sightings})
        self._sql.executemany(schema.PUT, ((*_raw(s.key), *s.seen, *s[2:]) for s in sightings))

    def again(self, keys: Iterable[Key]) -> None:
        """Mark files on their way that changed meanwhile: they settle once more when the sending ends."""
        self._sql.executemany(schema.AGAIN, map(_raw, keys))

    def prepare(self, manner: Manner, leaving: bool) -> None:
        """Make the indexes that this manner of sending needs, and drop those that only others need."""
        wanted = {f"file_{manner.order}": schema.ORDERS.get(manner.order)}
        wanted["file_removals"] = schema.REMOVALS if manner.deletes else None
        wanted["file_inode"] = schema.RENAMES if manner.renames else None
        wanted["file_delivered"] = schema.LEAVING if leaving else None
        self._sql.execute(schema.TROUBLE)
        for name in ("file_newest", "file_smallest", "file_removals", "file_inode", "file_delivered"):
            self._sql.execute(wanted.get(name) or f"DROP INDEX IF EXISTS {name}")

    def vanish(self, keys: Sequence[Key], now: float, forward: bool = False) -> None:
        """Close the rows of files that are not there any more.

        ``forward`` queues the deletion of what arrived, for later: what was only renamed or replaced shows meanwhile.
        """
        if forward:
            self._sql.executemany(schema.UNDELIVER, (_named(key, now + LINGER) for key in keys))
            self._sql.executemany(schema.VANISH_UNSENT, ((now, *_raw(key)) for key in keys))
            return
        self._sql.executemany(schema.FORGET, map(_raw, keys))
        self._sql.executemany(schema.VANISH, ((now, *_raw(key)) for key in keys))

    def resting(self, now: float, most: int) -> list[Key]:
        """Return settling files whose next look is due, the oldest first."""
        return [_key(*found) for found in self._sql.execute(schema.RESTING, (now, most))]

    def wake(self, folder: str, now: float) -> None:
        """Make due what waits for a done-file in or below a folder."""
        raw = _bytes(folder)
        self._sql.execute(schema.WAKE, {"now": now, "far": schema.FAR, "folder": raw, "below": raw + b"/"})

    def told_gone(self, keys: Sequence[Key], now: float) -> None:
        """Queue the deletion of names that somebody says are deleted."""
        self._sql.executemany(schema.ADD_FOLDER, {(_bytes(key.folder),) for key in keys})
        self._sql.executemany(schema.TOLD_GONE, (_named(key, now) for key in keys))

    def removals(self) -> int:
        """Return how many deletions wait to be forwarded."""
        count: int = self._sql.execute(schema.COUNT_REMOVALS).fetchone()[0]
        return count

    def waiting(self, now: float, order: Order = "oldest") -> Iterator[Queued]:
        """Yield the files whose sending is due, in an order; not to be used past the next write."""
        statement = {"newest": schema.NEWEST, "smallest": schema.SMALLEST}.get(order, schema.WAITING)
        yield from map(_queued, self._sql.execute(statement, (now,)))

    def holder(self, target: str, key: Key) -> Key | None:
        """Return another file that has this name at the destination."""
        found = self._sql.execute(schema.HOLDER, {**_named(key, 0.0), "target": _bytes(target)}).fetchone()
        return _key(*found) if found else None

    def before(self, seen: Seen) -> list[Key]:
        """Return the names under which this content was delivered."""
        return [_key(*found) for found in self._sql.execute(schema.BEFORE, (seen.inode, seen.size, seen.mtime_ns))]

    def delivered(self, before: float, most: int) -> list[Queued]:
        """Return files that were delivered before a time, the first of them first."""
        return [_queued(values) for values in self._sql.execute(schema.DELIVERED, (before, most))]

    def first_delivered(self) -> float | None:
        """Return when the first of them was delivered."""
        first: float | None = self._sql.execute(schema.FIRST_DELIVERED).fetchone()[0]
        return first

    def postpone(self, keys: Iterable[Key], delivered: float) -> None:
        """Treat delivered files as if they had been delivered at another time."""
        self._sql.executemany(schema.POSTPONE, ((delivered, *_raw(key)) for key in keys))

    def left(self, keys: Iterable[Key], now: float, reason: str) -> None:
        """Close the rows of delivered files that were removed here on purpose."""
        self._sql.executemany(schema.LEFT, ((now, reason, *_raw(key)) for key in keys))

    def send(self, targets: Mapping[Key, str | None]) -> None:
        """Mark files as being on their way, with their name at the destination where it is not their path."""
        rows = ((None if target is None else _bytes(target), *_raw(key)) for key, target in targets.items())
        self._sql.executemany(schema.SEND, rows)

    def end(self, ended: Iterable[Ended], mono: float) -> None:
        """Record how sendings ended."""
        self._sql.executemany(schema.END, (_ending(one, mono) for one in ended))

    def settle(self, keys: Iterable[Key], mono: float) -> None:
        """Begin anew with files whose version is not the one that was queued."""
        values = ({"path": path, "name": name, "mono": mono} for path, name in map(_raw, keys))
        self._sql.executemany(schema.SETTLE, values)

    def hurry(self, now: float, latest: float) -> None:
        """Make due what a clock that was set back would leave waiting for ever."""
        self._sql.execute(schema.HURRY, (now, latest))

    def due(self) -> tuple[float | None, float | None]:
        """Return when the first settling file (monotonic) and the first queued one (wall) are due."""
        resting, queued = self._sql.execute(schema.FIRST_DUE).fetchone()
        return (None if resting is None or resting >= schema.FAR else resting), queued

    def queued(self) -> tuple[int, int]:
        """Return how many files and bytes wait to be sent."""
        files, nbytes = self._sql.execute(schema.QUEUED).fetchone()
        return files, nbytes or 0

    def standing(self, now: float) -> Standing:
        """Return how it stands, at the cost of what waits and not of what is known."""
        return _standing(self._sql, now)

    def tallies(self) -> list[Tally]:
        """Return how many files are in which state for which reason."""
        found = self._sql.execute(schema.TALLIES)
        return [Tally(state, reason, files, size, _key(*key)) for state, reason, files, size, *key in found]

    def in_state(self, state: str) -> Iterator[Stated]:
        """Yield the files in one state; not to be used past the next write."""
        for values in self._sql.execute(schema.IN_STATE, (state,)):
            yield Stated(_key(*values[:2]), *values[2:])

    def post(self, bodies: Iterable[bytes]) -> None:
        """Put what arrived where it waits to be announced."""
        self._sql.executemany(schema.POST, ((body,) for body in bodies))

    def outbox(self, most: int) -> list[tuple[int, bytes]]:
        """Return what is to be announced with its numbers, the oldest first; a number is never given again."""
        return [(number, body) for number, body in self._sql.execute(schema.OUTBOX, (most,))]

    def posted(self, number: int) -> None:
        """Forget what was announced, up to this number."""
        self._sql.execute(schema.POSTED, (number,))

    def recall(self, name: str) -> str | None:
        """Return a note, or None."""
        found = self._sql.execute(schema.RECALL, (name,)).fetchone()
        return found[0] if found else None

    def note(self, name: str, value: str) -> None:
        """Keep a note."""
        self._sql.execute(schema.NOTE, (name, value))

    def forget(self, name: str) -> None:
        """Drop a note."""
        self._sql.execute(schema.FORGET_NOTE, (name,))

    def _set_up(self) -> None:
        found = self._sql.execute("PRAGMA user_version").fetchone()[0]
        if found > schema.FORMAT:
            raise Conflict("this journal was written by a newer Dray", item=str(self.path), hint="update Dray here")
        if found < schema.FORMAT:
            self._sql.executescript(schema.UPGRADE if found else schema.SCHEMA)


def snapshot(path: Path, target: Path) -> None:
    """Copy a journal, which an agent may be using, as it is at one moment; nothing where there is none."""
    if not path.exists():
        return
    reading = f"{path.absolute().as_uri()}?mode=ro"
    with (
        translated(path),
        closing(sqlite3.connect(reading, uri=True)) as source,
        closing(sqlite3.connect(target)) as to,
    ):
        source.backup(to)


def standing(path: Path, now: float) -> Standing:
    """Say how it stands in a journal that no agent may be using; as if it were empty where it cannot be read."""
    reading = f"{path.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(reading, uri=True)) as sql:
        return _standing(sql, now)
    return Standing()


def _standing(sql: sqlite3.Connection, now: float) -> Standing:
    files, nbytes = sql.execute(schema.QUEUED).fetchone()
    settling, retrying, trouble, to_announce = sql.execute(schema.STANDING, {"now": now}).fetchone()
    reason, due = sql.execute(schema.NEXT_RETRY, (now,)).fetchone() or ("", 0.0)
    return Standing(files, nbytes or 0, settling, retrying, trouble, to_announce, reason, due)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translation(path, error) from error


def _translation(path: Path, error: sqlite3.Error) -> DrayError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return NoSpace("no space left for the journal", item=str(path), hint="free some; work goes on by itself")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        hint = "move it away; every file is looked at again and nothing is sent twice"
        return Permanent(f"the journal is damaged: {error}", item=str(path), hint=hint)
    return Permanent(f"the journal cannot be used: {error}", item=str(path), hint="check its directory and disk")


_STRANGE = sys.getfilesystemencodeerrors()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", _STRANGE)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", _STRANGE)


def _raw(key: Key) -> tuple[bytes, bytes]:
    return _bytes(key.folder), _bytes(key.name)


def _key(folder: bytes, name: bytes) -> Key:
    return Key(_text(folder), _text(name))


def _named(key: Key, now: float) -> dict[str, object]:
    path, name = _raw(key)
    return {"path": path, "name": name, "now": now}


def _queued(values: tuple[Any, ...]) -> Queued:
    return Queued(_key(*values[:2]), Seen(*values[2:6]), *values[6:])


def _ending(one: Ended, mono: float) -> dict[str, object]:
    path, name = _raw(one.key)
    values = {field: getattr(one, field) for field in Ended._fields[1:]}
    return {**values, "path": path, "name": name, "mono": mono}
