"""Queries that record what the worker proved: accepted uploads, current files, copies, counts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Double, Subquery, and_, bindparam, insert, select, text, true, update
from sqlalchemy.sql.dml import Insert, Update

from dray.model.values import Value
from dray.state.given import IDS, Given, Row, ids
from dray.state.inserting import insert_once
from dray.state.schema import copies, datasets, files, jobs, stores, uploads
from dray.state.transition import Change, Setting, move

CURRENT = text("older.current")


class Accepted(Value, frozen=True):
    """An upload whose stored bytes were found equal to its claim, and published."""

    upload: int
    file: int
    dataset: int
    size: int
    checksum: str
    tag: str
    by: str
    level: str
    replaces: bool
    """Whether the bytes of the version before are gone from the store."""


class Published(Value, frozen=True):
    """The file version that a path showed until now."""

    file: int
    dataset: int
    size: int


def held_jobs(connection: Connection, claims: Mapping[int, int]) -> set[int]:
    """Return those jobs that still run under the attempt given for each, and keep it so until the end."""
    statement = select(jobs.c.id, jobs.c.attempt).where(
        jobs.c.id.in_(select(IDS.table(connection).c.id)), jobs.c.state == "running"
    )
    found = connection.execute(statement.with_for_update(read=True), ids(claims)).all()
    return {row.id for row in found if claims[row.id] == row.attempt}


class Waiting(Value, frozen=True):
    """An upload that may wait for its verdict."""

    id: int
    file: int
    dataset: int
    state: str
    on_exists: str


def lock_waiting(connection: Connection, keys: Iterable[int]) -> dict[int, Waiting]:
    """Return uploads by id, and keep them as they are until the end."""
    u = uploads.c
    mine = u.id.in_(select(IDS.table(connection).c.id))
    chosen = select(u.id, u.file_id, files.c.dataset_id, u.state, u.on_exists).where(mine).order_by(u.id)
    statement = chosen.join(files, files.c.id == u.file_id).with_for_update(of=uploads)
    return {row[0]: Waiting(*row) for row in connection.execute(statement, ids(keys)).all()}


def store_number(connection: Connection, name: str) -> int:
    """Return the number of a store, which is made when it is named for the first time."""
    statement = select(stores.c.id).where(stores.c.name == name)
    number = connection.execute(statement).scalar()
    if number is None:
        insert_once(connection, stores, {"name": name})
        number = connection.execute(statement).scalar_one()
    return int(number)


def accept(connection: Connection, change: Change, accepted: Sequence[Accepted], store: str) -> set[int]:
    """Record verified and published uploads: the upload, its copy, its file as current, the counts of datasets.

    Returns the uploads that were still waiting for this.
    """
    moved = move(connection, change, REASON, {one.upload: {"reason": ""} for one in accepted})
    fresh = [one for one in accepted if one.upload in moved]
    if fresh:
        older = _retire(connection, fresh, change)
        _publish(connection, fresh, change.now)
        _add_copies(connection, fresh, store, change)
        _count(connection, fresh, older)
    return moved


REASON = Setting(Given(id=int, reason=str))


def _retire(connection: Connection, fresh: Iterable[Accepted], change: Change) -> list[Published]:
    """Take the paths from the versions that have them now; say that a replaced one's copies are gone."""
    by_file = {one.file: one for one in fresh}
    found = connection.execute(_older(IDS.table(connection)), ids(by_file)).all()
    if found:
        old = select(IDS.table(connection).c.id)
        given = ids(row.older for row in found)
        connection.execute(update(files).where(files.c.id.in_(old)).values(current=False), given)
        replaced = [row.older for row in found if by_file[row.newer].replaces]
        _remove_copies(connection, replaced, change)
    return [Published(row.older, row.dataset_id, row.size) for row in found]


@lru_cache
def _older(given: Subquery) -> Any:
    """The current version of each path that gets a new one."""
    older = files.alias("older")
    same = and_(older.c.dataset_id == files.c.dataset_id, older.c.path == files.c.path, older.c.id != files.c.id)
    chosen = select(older.c.id.label("older"), files.c.id.label("newer"), older.c.dataset_id, older.c.size)
    whole = given.join(files, files.c.id == given.c.id).join(older, and_(same, CURRENT))
    return chosen.select_from(whole).with_for_update(of=older)


def _remove_copies(connection: Connection, replaced: Iterable[int], change: Change) -> None:
    statement = select(copies.c.id, copies.c.state).where(
        copies.c.file_id.in_(select(IDS.table(connection).c.id)), copies.c.state == "verified"
    )
    gone = connection.execute(statement, ids(replaced)).all()
    removed = Change("copy", ("verified",), "removed", change.now, change.actor)
    move(connection, removed, REASON, {row.id: {"reason": "a new version replaced it"} for row in gone})


CONTENT = Given(id=int, size=int, checksum=str)


def _publish(connection: Connection, fresh: Iterable[Accepted], now: float) -> None:
    rows: list[Row] = [{"id": one.file, "size": one.size, "checksum": one.checksum} for one in fresh]
    connection.execute(_publish_statement(CONTENT.table(connection)), CONTENT.rows(rows) | {"now": now})


@lru_cache
def _publish_statement(given: Subquery) -> Update:
    """Make file versions current, with the content that was proved."""
    content = {"size": given.c.size, "checksum": given.c.checksum}
    shown = {"current": true(), "published": bindparam("now", type_=Double)}
    return update(files).where(files.c.id == given.c.id).values(content | shown)


COPIES = Given(
    file_id=int, upload_id=int, size=int, checksum=str, tag=str, verified_by=str, level=str, store_id=int, state=str
)


def _add_copies(connection: Connection, fresh: Iterable[Accepted], store: str, change: Change) -> None:
    place: Row = {"store_id": store_number(connection, store), "state": "verified"}
    rows = [
        {
            "file_id": one.file,
            "upload_id": one.upload,
            "size": one.size,
            "checksum": one.checksum,
            "tag": one.tag,
            "verified_by": one.by,
            "level": one.level,
            **place,
        }
        for one in fresh
    ]
    statement = _add_copies_statement(COPIES.table(connection))
    connection.execute(statement, COPIES.rows(rows) | {"now": change.now})


@lru_cache
def _add_copies_statement(given: Subquery) -> Insert:
    """Add the copies that uploads made; their verification is told by the upload's event."""
    now = bindparam("now", type_=Double)
    chosen = select(*given.c, now, now, text("''"))
    names = [*given.c.keys(), "verified_at", "updated", "reason"]
    return insert(copies).from_select(names, chosen)


def _count(connection: Connection, fresh: Iterable[Accepted], older: Iterable[Published]) -> None:
    """Keep the datasets' counts of current files and bytes."""
    added: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one in fresh:
        added[one.dataset][0] += 1
        added[one.dataset][1] += one.size
    for old in older:
        added[old.dataset][0] -= 1
        added[old.dataset][1] -= old.size
    for dataset, (number, size) in sorted(added.items()):
        change = {"files": datasets.c.files + number, "bytes": datasets.c.bytes + size}
        connection.execute(update(datasets).where(datasets.c.id == dataset).values(change))
