"""The one place that changes a state: compare and set by the tables of ``model/states.py``, with its events."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from sqlalchemy import Connection, Double, Subquery, Table, Text, bindparam, text, update
from sqlalchemy.sql.dml import ReturningUpdate

from dray.model import states
from dray.model.values import Value
from dray.state.events import Data, Note, tell
from dray.state.given import Given, Row
from dray.state.schema import copies, jobs, quoted, uploads

Machine = Literal["upload", "copy", "job"]
TABLES: dict[Machine, Table] = {"upload": uploads, "copy": copies, "job": jobs}


class Change(Value, frozen=True):
    """What becomes of a batch. ``before`` are the states it may have now; ``told`` says whether events are written."""

    machine: Machine
    before: tuple[str, ...]
    after: str
    now: float
    actor: str
    told: bool = True


class Setting(Value, frozen=True):
    """Which columns come with each row of a change: ``id``; those in ``match`` are compared too, the others are set."""

    columns: Given
    match: tuple[str, ...] = ()


def move(connection: Connection, change: Change, setting: Setting, values: Mapping[int, Row]) -> set[int]:
    """Bring the rows that are still as expected into the state ``after``; return the ids of those that changed.

    ``values`` holds the columns of each row by its id. Each change is an event, with the row's ``reason`` when it
    has one. Raises Conflict when the table of the machine does not know this change.
    """
    for before in change.before:
        states.check(change.machine, before, change.after)
    if not values:
        return set()
    statement = _update(change.machine, change.before, setting.columns.table(connection), setting.match)
    given = setting.columns.rows([{"id": key, **value} for key, value in values.items()])
    changed = connection.execute(statement, given | {"after": change.after, "now": change.now}).all()
    moved = {row[0] for row in changed}
    if change.told:
        tell(connection, _note(change), {key: _data(change, key, values[key]) for key in values if key in moved})
    return moved


def begun(connection: Connection, change: Change, ids: Iterable[int]) -> None:
    """Write the events of rows that were just made in the state ``after``."""
    tell(connection, _note(change), {key: _data(change, key, {}) for key in ids})


@lru_cache
def _update(machine: Machine, before: tuple[str, ...], given: Subquery, match: tuple[str, ...]) -> ReturningUpdate[int]:
    """Set the state and the given columns of the rows that are in one of the states ``before``."""
    table = TABLES[machine]
    columns = {name: value for name, value in given.c.items() if name != "id" and name not in match}
    expected = [table.c[name] == given.c[name] for name in ("id", *match)]
    # Literal states, so that partial indexes serve.
    now = {"state": bindparam("after", type_=Text), "updated": bindparam("now", type_=Double)}
    return (
        update(table)
        .where(*expected, text(f"{table.name}.state IN ({quoted(before)})"))
        .values(now | columns)
        .returning(table.c.id)
    )


def _note(change: Change) -> Note:
    return Note(change.machine, f"{change.machine}.{change.after}", change.now, change.actor)


def _data(change: Change, key: int, value: Row) -> Data:
    job: Data = {"job": key} if change.machine == "job" else {}
    return {**job, "reason": value["reason"]} if value.get("reason") else job
