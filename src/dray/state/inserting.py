"""INSERT that leaves out what is there already: the same words on both databases, other classes in SQLAlchemy."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(dialect: str, table: Table) -> Any:
    """Return an INSERT for ``table`` that has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert one row unless a unique key stands against it; say whether it was inserted."""
    statement = insert_new(connection.dialect.name, table).values(values).on_conflict_do_nothing()
    return connection.execute(statement.returning(*table.primary_key.columns)).first() is not None
