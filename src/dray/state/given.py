"""A batch of values as a table: one JSON parameter a statement, however many rows, on both databases."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Connection, Double, Subquery, Text, column, text

Scalar = str | int | float | bool | None
Row = Mapping[str, Scalar]

_TYPES: dict[type, tuple[Any, str]] = {
    int: (BigInteger, "bigint"),
    float: (Double, "double precision"),
    bool: (Boolean, "boolean"),
    str: (Text, "text"),
}


class Given:
    """The columns of a batch: ``Given(id=int, reason=str)``. Any value may be None."""

    def __init__(self, **columns: type) -> None:
        self.columns = columns
        self._tables: dict[str, Subquery] = {}

    def table(self, connection: Connection) -> Subquery:
        """Return the table ``given``, to be joined in a statement run with ``rows``."""
        dialect = connection.dialect.name
        if dialect not in self._tables:
            self._tables[dialect] = self._make(dialect)
        return self._tables[dialect]

    def rows(self, values: Iterable[Row]) -> dict[str, str]:
        """Return the parameter that fills the table."""
        names = tuple(self.columns)
        return {"rows": encoded([[value[name] for name in names] for value in values])}

    def _make(self, dialect: str) -> Subquery:
        cell, source = _FORMS[dialect]
        parts = [
            cell.format(index=index, type=_TYPES[kind][1]) + f" AS {name}"
            for index, (name, kind) in enumerate(self.columns.items())
        ]
        typed = [column(name, _TYPES[kind][0]) for name, kind in self.columns.items()]
        return text(f"SELECT {', '.join(parts)} FROM {source}").columns(*typed).subquery("given")  # noqa: S608


# Both read an array of arrays; only PostgreSQL needs to be told the types.
_FORMS = {
    "sqlite": ("json_extract(value, '$[{index}]')", "json_each(:rows)"),
    "postgresql": ("CAST(value ->> {index} AS {type})", "jsonb_array_elements(CAST(:rows AS jsonb))"),
}

IDS = Given(id=int)


def encoded(value: object) -> str:
    """Return a value as JSON."""
    return msgspec.json.encode(value).decode()


def ids(values: Iterable[int]) -> dict[str, str]:
    """Return the parameter that fills ``IDS``."""
    return {"rows": encoded([[value] for value in values])}
