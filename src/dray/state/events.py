"""Events: written with the change they tell of, read in their published order (ADR 4)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Row,
    Select,
    Subquery,
    Text,
    bindparam,
    insert,
    literal_column,
    null,
    select,
    tuple_,
)
from sqlalchemy.sql.dml import Insert

from dray.model.values import Value
from dray.state.given import Given, encoded
from dray.state.matching import any_of
from dray.state.schema import copies, counters, datasets, events, files, uploads

ABOUT = Given(id=int, data=str)

Data = Mapping[str, str | int | float | bool | None]


class Note(Value, frozen=True):
    """What is told of a batch of things; ``subject`` says what their ids are: upload, copy, dataset, or no row."""

    subject: str
    kind: str
    now: float
    actor: str


def tell(connection: Connection, note: Note, about: Mapping[int, Data]) -> None:
    """Write one event for each id of ``about``, with its data."""
    if about:
        rows = [{"id": key, "data": encoded(data) if data else None} for key, data in about.items()]
        statement = _insert(connection.dialect.name, ABOUT.table(connection), note.subject)
        connection.execute(statement, ABOUT.rows(rows) | {"at": note.now, "kind": note.kind, "actor": note.actor})


_COLUMNS = ["stamp", "at", "kind", "actor", "data", "dataset_id", "file_id", "upload_id"]


@lru_cache
def _insert(dialect: str, given: Subquery, subject: str) -> Insert:
    """Write events for the given ids, with the file and dataset that each is about."""
    whole, keys = _subject(given, subject)
    fixed = [_stamp(dialect), bindparam("at", type_=Double), bindparam("kind", type_=Text)]
    told = select(*fixed, bindparam("actor", type_=Text), given.c.data, *keys)
    return insert(events).from_select(_COLUMNS, told.select_from(whole).order_by(given.c.id))


def _subject(given: Subquery, subject: str) -> tuple[FromClause, list[ColumnElement[Any]]]:
    if subject == "upload":
        whole = given.join(uploads, uploads.c.id == given.c.id).join(files, files.c.id == uploads.c.file_id)
        return whole, [files.c.dataset_id, files.c.id, uploads.c.id]
    if subject == "copy":
        whole = given.join(copies, copies.c.id == given.c.id).join(files, files.c.id == copies.c.file_id)
        return whole, [files.c.dataset_id, files.c.id, null()]
    return given, [given.c.id if subject == "dataset" else null(), null(), null()]


_BASE = select(counters.c.value).where(counters.c.name == literal_column("'events'")).scalar_subquery()


def _stamp(dialect: str) -> ColumnElement[int]:
    """Return the order of this transaction among all; on SQLite there is one writer and ids alone are in order."""
    return _number("pg_current_xact_id()") + _BASE if dialect == "postgresql" else literal_column("0", BigInteger)


def _number(call: str) -> ColumnElement[int]:
    return literal_column(f"CAST(CAST({call} AS text) AS bigint)", BigInteger)


class Position(Value, frozen=True):
    """A place in the published order."""

    stamp: int
    id: int


BEGIN = Position(-1, 0)


class Seen(Value, frozen=True):
    """Which events are shown: all of them, or those about datasets that match; of one file."""

    datasets: tuple[str, ...] = ()
    all_kinds: bool = False
    file: int | None = None


def read(connection: Connection, after: Position, limit: int, seen: Seen) -> Sequence[Row[Any]]:
    """Return the events after a position that may be read already, in order, with the names of what they are about."""
    order = _order(connection)
    statement = _visible(_settled(connection, _named()), seen).where(_after(connection, after))
    return connection.execute(statement.order_by(*order).limit(limit)).all()


def newest(connection: Connection) -> Position:
    """Return the position of the newest event that may be read already."""
    order = [column.desc() for column in _order(connection)]
    statement = _settled(connection, select(events.c.stamp, events.c.id)).order_by(*order).limit(1)
    row = connection.execute(statement).first()
    return Position(row.stamp, row.id) if row else BEGIN


def latest(connection: Connection, limit: int, seen: Seen) -> Sequence[Row[Any]]:
    """Return the newest events that may be read already, the newest first."""
    order = [column.desc() for column in _order(connection)]
    statement = _visible(_settled(connection, _named()), seen)
    return connection.execute(statement.order_by(*order).limit(limit)).all()


@lru_cache
def _named() -> Select[Any]:
    subject = [datasets.c.name.label("dataset"), files.c.path, files.c.version_number]
    shown = [uploads.c.size, uploads.c.checksum]
    return select(events, *subject, *shown).select_from(
        events.outerjoin(datasets, datasets.c.id == events.c.dataset_id)
        .outerjoin(files, files.c.id == events.c.file_id)
        .outerjoin(uploads, uploads.c.id == events.c.upload_id)
    )


def _visible(statement: Select[Any], seen: Seen) -> Select[Any]:
    if not seen.all_kinds:
        statement = statement.where(events.c.dataset_id.is_not(None))
    if seen.datasets:
        statement = statement.where(any_of(datasets.c.name, seen.datasets))
    return statement if seen.file is None else statement.where(events.c.file_id == seen.file)


def _settled(connection: Connection, statement: Select[Any]) -> Select[Any]:
    """Leave out, on PostgreSQL, what was written while an older transaction is still open: its events come first."""
    if connection.dialect.name != "postgresql":
        return statement
    return statement.where(events.c.stamp < _number("pg_snapshot_xmin(pg_current_snapshot())") + _BASE)


def _after(connection: Connection, after: Position) -> ColumnElement[bool]:
    if connection.dialect.name != "postgresql":
        return events.c.id > after.id
    return tuple_(events.c.stamp, events.c.id) > tuple_(after.stamp, after.id)


def _order(connection: Connection) -> list[ColumnElement[Any]]:
    return [events.c.stamp, events.c.id] if connection.dialect.name == "postgresql" else [events.c.id]
