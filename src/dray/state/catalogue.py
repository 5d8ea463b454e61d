"""Queries on datasets, files and copies as users see them."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, text

from dray.model.states import UPLOAD_LIVE
from dray.model.values import Value
from dray.state.events import Note, tell
from dray.state.given import IDS, Given, ids
from dray.state.inserting import insert_once
from dray.state.matching import any_of
from dray.state.schema import copies, datasets, files, quoted, stores, uploads

CURRENT = text("files.current")


class Dataset(Value, frozen=True):
    """A dataset with the counts of its current files."""

    id: int
    name: str
    created: float
    files: int
    bytes: int


def dataset(connection: Connection, name: str) -> Dataset | None:
    """Return a dataset by its name."""
    row = connection.execute(select(datasets).where(datasets.c.name == name)).first()
    return _dataset(row) if row else None


def make_dataset(connection: Connection, name: str, now: float, actor: str) -> Dataset:
    """Return the dataset of this name, which is made when it is not there."""
    found = dataset(connection, name)
    if found is None:
        made = insert_once(connection, datasets, {"name": name, "created": now, "files": 0, "bytes": 0})
        row = connection.execute(select(datasets).where(datasets.c.name == name)).one()
        found = _dataset(row)
        if made:
            tell(connection, Note("dataset", "dataset.created", now, actor), {found.id: {}})
    return found


def list_datasets(connection: Connection, patterns: Sequence[str], after: str, limit: int) -> list[Dataset]:
    """Return datasets whose names match (no patterns: all) and come after ``after``, by name."""
    statement = select(datasets).where(datasets.c.name > after).order_by(datasets.c.name).limit(limit)
    if patterns:
        statement = statement.where(any_of(datasets.c.name, patterns))
    return [_dataset(row) for row in connection.execute(statement)]


def _dataset(row: Any) -> Dataset:
    return Dataset(row.id, row.name, row.created, row.files, row.bytes)


class Stored(Value, frozen=True):
    """One copy of a file."""

    file: int
    store: str
    upload: int
    state: str
    size: int
    checksum: str
    level: str
    tag: str
    by: str
    at: float


class File(Value, frozen=True):
    """One file version with its dataset and copies; ``moving`` says that an upload of it is pending or uploaded."""

    id: int
    dataset: str
    path: str
    version_number: int
    size: int
    checksum: str | None
    mtime_ns: int | None
    created: float
    published: float | None
    current: bool
    moving: bool
    copies: tuple[Stored, ...] = ()

    def verified(self) -> Stored | None:
        """Return a verified copy, if there is one."""
        return next((copy for copy in self.copies if copy.state == "verified"), None)


def get(connection: Connection, keys: Iterable[int]) -> dict[int, File]:
    """Return files by id."""
    found = with_copies(connection, _files().where(files.c.id.in_(select(IDS.table(connection).c.id))), ids(keys))
    return {file.id: file for file in found}


PATHS = Given(path=str)


def versions(connection: Connection, name: str, paths: Iterable[str]) -> list[File]:
    """Return all published versions of paths, by path, the newest last."""
    mine = files.c.path.in_(select(PATHS.table(connection).c.path))
    statement = _files().where(datasets.c.name == name, mine, files.c.published.is_not(None))
    given = PATHS.rows({"path": path} for path in paths)
    return with_copies(connection, statement.order_by(files.c.path, files.c.version_number), given)


_LIVE = text(f"uploads.state IN ({quoted(UPLOAD_LIVE)})")
OPEN = uploads.c.state.in_(["pending", "uploaded"])
_ON_ITS_WAY = exists().where(uploads.c.file_id == files.c.id, _LIVE, OPEN)


def files_with(dataset: ColumnElement[bool]) -> Select[Any]:
    """Return the query for files, without conditions but the one that joins their ``dataset``."""
    f = files.c
    own = [f.id, datasets.c.name, f.path, f.version_number, f.size, f.checksum, f.mtime_ns, f.created, f.published]
    return select(*own, f.current, _ON_ITS_WAY.label("moving")).select_from(files.join(datasets, dataset))


@lru_cache
def _files() -> Select[Any]:
    return files_with(datasets.c.id == files.c.dataset_id)


def with_copies(connection: Connection, statement: Select[Any], given: dict[str, str] | None = None) -> list[File]:
    """Return the files that a query for files finds, each with its copies."""
    rows = connection.execute(statement, given or {}).all()
    held: dict[int, list[Stored]] = {row.id: [] for row in rows}
    mine = copies.c.file_id.in_(select(IDS.table(connection).c.id))
    for row in connection.execute(_copies().where(mine).order_by(copies.c.id), ids(held)):
        held[row.file_id].append(Stored(*row))
    return [_file(row, held[row.id]) for row in rows]


def _file(row: Any, held: Sequence[Stored]) -> File:
    values: tuple[Any, ...] = (*row, tuple(held))
    return File(*values)


@lru_cache
def _copies() -> Select[Any]:
    c = copies.c
    proof = [c.state, c.size, c.checksum, c.level, c.tag, c.verified_by, c.verified_at]
    return select(c.file_id, stores.c.name, c.upload_id, *proof).join(stores, stores.c.id == c.store_id)


def totals(connection: Connection) -> tuple[int, int]:
    """Return the number of current files and their bytes."""
    row = connection.execute(select(func.coalesce(func.sum(datasets.c.files), 0), func.sum(datasets.c.bytes))).one()
    return int(row[0]), int(row[1] or 0)


def upload_counts(connection: Connection) -> dict[str, int]:
    """Return the number of uploads by state; the accepted ones are what is left of all, which is cheap to count."""
    others = text("uploads.state <> 'accepted'")
    rows = connection.execute(select(uploads.c.state, func.count()).where(others).group_by(uploads.c.state)).all()
    counts = {row[0]: int(row[1]) for row in rows}
    everything = connection.execute(select(func.count()).select_from(uploads)).scalar_one()
    return counts | {"accepted": everything - sum(counts.values())}
