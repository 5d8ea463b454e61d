"""Queries behind the web pages: the entries of one folder, and the uploads that wait."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Exists, and_, exists, func, select, text

from dray.model.values import Value
from dray.state.matching import any_of, starts_with, successor
from dray.state.schema import datasets, files, uploads

CURRENT = text("files.current")
NOT_ACCEPTED = text("uploads.state <> 'accepted'")
OPEN = ("pending", "uploaded")
REFUSED = ("rejected", "failed")
COUNTED = 1000
"""Files of a folder that are counted; what it holds beyond them is called more."""


class Folder(Value, frozen=True):
    """A folder and what it holds at any depth; ``more`` when only the first files were counted."""

    prefix: str
    files: int
    bytes: int
    more: bool


class Listing(Value, frozen=True):
    """Some entries of a folder in the order of their paths: folders, and the ids of files. ``next`` goes on from."""

    folders: list[Folder]
    files: list[int]
    next: str | None


def folder(connection: Connection, dataset: int, prefix: str, after: str, limit: int) -> Listing:
    """Return up to ``limit`` entries directly below ``prefix`` (empty, or with a slash at its end) after a place."""
    folders: list[Folder] = []
    found: list[int] = []
    place = max(after, prefix)
    while rows := _paths(connection, dataset, prefix, place, max(1, limit - len(folders) - len(found))):
        for row in rows:
            if len(folders) + len(found) == limit:
                return Listing(folders, found, place)
            name, slash, _ = row.path[len(prefix) :].partition("/")
            if slash:
                folders.append(_count(connection, dataset, f"{prefix}{name}/"))
                place = successor(folders[-1].prefix)
                break
            found.append(row.id)
            # No path holds a NUL, so this is the first place after it.
            place = f"{row.path}\x01"
    return Listing(folders, found, None)


def _paths(connection: Connection, dataset: int, prefix: str, place: str, limit: int) -> Sequence[Any]:
    wanted = select(files.c.id, files.c.path).where(files.c.dataset_id == dataset, CURRENT, files.c.path >= place)
    wanted = wanted.where(starts_with(files.c.path, prefix)) if prefix else wanted
    return connection.execute(wanted.order_by(files.c.path).limit(limit)).all()


def _count(connection: Connection, dataset: int, prefix: str) -> Folder:
    below = select(files.c.size).where(files.c.dataset_id == dataset, CURRENT, starts_with(files.c.path, prefix))
    first = below.limit(COUNTED + 1).subquery()
    count, size = connection.execute(select(func.count(), func.sum(first.c.size)).select_from(first)).one()
    return Folder(prefix, min(count, COUNTED), int(size or 0), count > COUNTED)


class Wanted(Value, frozen=True):
    """Which uploads are shown: in these states, of one dataset or all, by their last change."""

    states: tuple[str, ...]
    dataset: str | None
    limit: int
    newest: bool = False


def find_uploads(connection: Connection, patterns: Sequence[str], wanted: Wanted) -> list[int]:
    """Return the ids of uploads in datasets that match (no patterns: all), each the last one of its path."""
    joined = uploads.join(files, files.c.id == uploads.c.file_id).join(datasets, datasets.c.id == files.c.dataset_id)
    chosen = select(uploads.c.id).select_from(joined).where(NOT_ACCEPTED, uploads.c.state.in_(wanted.states))
    chosen = chosen.where(any_of(datasets.c.name, patterns)) if patterns else chosen
    chosen = chosen.where(datasets.c.name == wanted.dataset) if wanted.dataset is not None else chosen
    columns = (uploads.c.updated, uploads.c.id)
    order = [column.desc() if wanted.newest else column.asc() for column in columns]
    return list(connection.execute(chosen.where(~_superseded()).order_by(*order).limit(wanted.limit)).scalars())


def _superseded() -> Exists:
    """Return the condition that the path was uploaded again since."""
    later, other = uploads.alias("later"), files.alias("other")
    same = and_(other.c.dataset_id == files.c.dataset_id, other.c.path == files.c.path)
    found = later.join(other, other.c.id == later.c.file_id)
    return exists().select_from(found).where(same, later.c.id > uploads.c.id)
