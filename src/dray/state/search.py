"""Finds files page by page, in the order of dataset, path and version number.

What is rare (a checksum, a state that few files have) is looked up where it is noted, and then sorted; everything else
goes through one dataset after another by the index of paths.
"""

from collections.abc import Iterator
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, exists, literal_column, not_, or_, select, text, tuple_

from dray.model.values import Value
from dray.state.catalogue import CURRENT, OPEN, File, files_with, with_copies
from dray.state.matching import any_of, contains, starts_with
from dray.state.schema import copies, datasets, files, uploads

Place = tuple[str, str, int]
"""Dataset, path and version number of a file."""

RARE = ("damaged", "moving", "failed", "removed")


class Search(Value, frozen=True):
    """Which files are wanted, all conditions together; ``after`` is the place of the last one that was seen."""

    patterns: tuple[str, ...] = ()
    dataset: str | None = None
    prefix: str | None = None
    part: str | None = None
    checksum: str | None = None
    state: Literal["verified", "damaged", "moving", "failed", "removed"] | None = None
    current: bool = True
    after: Place | None = None
    limit: int = 100


def find(connection: Connection, search: Search) -> list[File]:
    """Return the files that are wanted."""
    if search.checksum or search.state in RARE:
        return _look_up(connection, search)
    found: list[File] = []
    for dataset, name in _datasets(connection, search):
        found += _page(connection, search, dataset, name, search.limit - len(found))
        if len(found) == search.limit:
            break
    return found


def _look_up(connection: Connection, search: Search) -> list[File]:
    """Sort the few files that a rare condition leaves."""
    # The plus keeps SQLite from going through a dataset to find what is rare.
    statement = files_with(datasets.c.id == literal_column("+files.dataset_id"))
    order = [datasets.c.name, files.c.path, files.c.version_number]
    wanted = [*_of_dataset(search), *_of_file(connection, search)]
    if search.after:
        wanted.append(tuple_(*order) > tuple_(*search.after))
    return with_copies(connection, statement.where(*wanted).order_by(*order).limit(search.limit))


def _datasets(connection: Connection, search: Search) -> Iterator[tuple[int, str]]:
    """Yield the datasets that may hold what is wanted, in the order of their names."""
    wanted = _of_dataset(search)
    if search.after:
        wanted.append(datasets.c.name >= search.after[0])
    if search.current:
        wanted.append(datasets.c.files > 0)
    rows = connection.execute(select(datasets.c.id, datasets.c.name).where(*wanted).order_by(datasets.c.name))
    yield from ((row.id, row.name) for row in rows.all())


def _page(connection: Connection, search: Search, dataset: int, name: str, limit: int) -> list[File]:
    statement = files_with(datasets.c.id == files.c.dataset_id).where(files.c.dataset_id == dataset)
    if search.after and search.after[0] == name:
        statement = statement.where(*_after(search.after))
    statement = statement.where(*_of_file(connection, search)).order_by(files.c.path, files.c.version_number)
    return with_copies(connection, statement.limit(limit))


def _after(place: Place) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of a later place in the same dataset; by the first one the index is entered."""
    _, path, version = place
    later = or_(files.c.path > path, and_(files.c.path == path, files.c.version_number > version))
    return files.c.path >= path, later


def _of_dataset(search: Search) -> list[ColumnElement[bool]]:
    wanted = [datasets.c.name == search.dataset] if search.dataset is not None else []
    return [*wanted, any_of(datasets.c.name, search.patterns)] if search.patterns else wanted


def _of_file(connection: Connection, search: Search) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool] | None] = [
        starts_with(files.c.path, search.prefix) if search.prefix else None,
        contains(connection.dialect.name, files.c.path, search.part) if search.part else None,
        _has_checksum(search.checksum) if search.checksum else None,
        _in_state(search.state) if search.state else None,
        and_(CURRENT) if search.current else None,
    ]
    return [condition for condition in wanted if condition is not None]


def _has_checksum(checksum: str) -> ColumnElement[bool]:
    """Return the condition on a checksum, by the piece of it that the index holds.

    Compared as a bare column, SQLite would put the value in the place of the column and not know the index any more.
    """
    piece = text("substr(files.checksum, 8, 10) = :piece").bindparams(piece=checksum[7:17])
    return and_(piece, files.c.checksum.is_not(None), files.c.checksum.concat("") == checksum)


def _in_state(state: str) -> ColumnElement[bool]:
    """Return the condition of a state of ``FileView`` (named in core/datasets.py); rare states begin at their rows."""
    published = files.c.published.is_not(None)
    verified = exists().where(copies.c.file_id == files.c.id, copies.c.state == "verified")
    moving = _with_upload(OPEN)
    return {
        "verified": and_(published, verified),
        "damaged": and_(published, _with_copy("lost", "corrupt", "arriving"), not_(verified)),
        "moving": and_(not_(published), moving),
        "failed": and_(not_(published), _with_upload(not_(OPEN)), not_(moving)),
        "removed": and_(
            published, _with_copy("removed"), not_(_with_copy("lost", "corrupt", "arriving")), not_(verified)
        ),
    }[state]


def _with_upload(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    rare: Any = text("uploads.state <> 'accepted'")
    return files.c.id.in_(select(uploads.c.file_id).where(rare, condition))


def _with_copy(*states: str) -> ColumnElement[bool]:
    rare: Any = text("copies.state <> 'verified'")
    return files.c.id.in_(select(copies.c.file_id).where(rare, copies.c.state.in_(states)))
