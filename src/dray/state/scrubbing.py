"""Queries of scrubs: page through copies, note what reading them again showed."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, Subquery, select, update
from sqlalchemy.sql.dml import Update

from dray.model.values import Proof, Value
from dray.state.given import Given, Row
from dray.state.schema import copies, datasets, files, stores
from dray.state.transition import Change, Setting, move

BATCH = 256
BYTES = 1 << 30


class Copy(Value, frozen=True):
    """One copy with the path of its file."""

    id: int
    file: int
    store: str
    dataset: str
    path: str
    tag: str
    size: int
    checksum: str
    state: str
    current: bool
    mtime_ns: int | None


def page(connection: Connection, after: int, dataset: str | None) -> list[Copy]:
    """Return the next copies (of one dataset, if named): a batch, cut after about a GiB."""
    statement = _copies().where(copies.c.id > after)
    if dataset is not None:
        statement = statement.where(datasets.c.name == dataset)
    found = [Copy(*row) for row in connection.execute(statement.limit(BATCH))]
    size, number = 0, 0
    while number < len(found) and size < BYTES:
        size += found[number].size
        number += 1
    return found[:number]


def others(connection: Connection, file: int, copy: int) -> list[Copy]:
    """Return the verified copies of a file beside one of them."""
    statement = _copies().where(copies.c.file_id == file, copies.c.id != copy, copies.c.state == "verified")
    return [Copy(*row) for row in connection.execute(statement)]


@lru_cache
def _copies() -> Select[Any]:
    c = copies.c
    named = [stores.c.name, datasets.c.name, files.c.path]
    joined = copies.join(stores, stores.c.id == c.store_id).join(files, files.c.id == c.file_id)
    joined = joined.join(datasets, datasets.c.id == files.c.dataset_id)
    own = [c.tag, c.size, c.checksum, c.state, files.c.current, files.c.mtime_ns]
    columns = [column.label(f"c{number}") for number, column in enumerate([c.id, c.file_id, *named, *own])]
    return select(*columns).select_from(joined).where(c.state != "removed").order_by(c.id)


REASON = Setting(Given(id=int, reason=str))


def mark(connection: Connection, state: str, reasons: Mapping[int, str], now: float) -> set[int]:
    """Note that verified copies are found damaged."""
    values: dict[int, Row] = {key: {"reason": reason} for key, reason in reasons.items()}
    return move(connection, Change("copy", ("verified",), state, now, "scrub"), REASON, values)


def begin_repair(connection: Connection, copy: int, state: str, now: float) -> bool:
    """Note that a damaged copy is being written again."""
    if state == "arriving":
        return True
    change = Change("copy", ("lost", "corrupt"), "arriving", now, "scrub")
    return bool(move(connection, change, REASON, {copy: {"reason": "is written again from another copy"}}))


PROVED = Given(id=int, reason=str, tag=str, verified_by=str, level=str, verified_at=float)


def confirm(connection: Connection, proofs: Mapping[int, Proof], now: float) -> None:
    """Note that copies are as they have to be; for those that were not, that is a change of state."""
    values: dict[int, Row] = {
        key: {"reason": "", "tag": proof.tag, "verified_by": proof.by, "level": proof.level, "verified_at": now}
        for key, proof in proofs.items()
    }
    move(connection, Change("copy", ("lost", "corrupt"), "arriving", now, "scrub"), REASON, values)
    moved = move(connection, Change("copy", ("arriving",), "verified", now, "scrub"), Setting(PROVED), values)
    rest: list[Row] = [{"id": key, **value} for key, value in values.items() if key not in moved]
    if rest:
        connection.execute(_confirm(PROVED.table(connection)), PROVED.rows(rest))


@lru_cache
def _confirm(given: Subquery) -> Update:
    """Note when copies that were verified before were read again."""
    proved = {"verified_by": given.c.verified_by, "verified_at": given.c.verified_at, "level": given.c.level}
    return update(copies).where(copies.c.id == given.c.id, copies.c.state == "verified").values(proved)
