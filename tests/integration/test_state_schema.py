"""Tables, migrations and the plans of queries."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from dray.errors import Busy, Conflict, UsageError
from dray.model.states import MACHINES
from dray.state import setup
from dray.state.database import open_database
from tests.integration.world import World, file, world_at
from tests.servers.postgres import Postgres

TABLES = {"upload": "uploads", "copy": "copies", "job": "jobs"}


def engine_of(url: str) -> Engine:
    parsed = make_url(url)
    driver = parsed if parsed.get_backend_name() == "sqlite" else parsed.set(drivername="postgresql+psycopg")
    return create_engine(driver, poolclass=NullPool)


def sqlite_schema(connection: Connection) -> dict[str, list[str]]:
    """The clauses of each table and index; in which order they stand does not matter."""
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {row[0]: clauses(row[1]) for row in rows if row[0] != "alembic_version"}


def clauses(sql: str) -> list[str]:
    head, _, body = " ".join(sql.replace('"', "").split()).partition("(")
    inner, _, tail = body.rpartition(")")
    return [head, tail, *sorted(clause.strip() for clause in re.split(r",(?![^()]*\))", inner))]


def postgres_schema(connection: Connection) -> set[tuple[Any, ...]]:
    columns = """SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name
                 FROM information_schema.columns WHERE table_schema = 'public'"""
    constraints = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0"
    )
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    rows = (tuple(row) for query in (columns, constraints, indexes) for row in connection.execute(text(query)))
    return {row for row in rows if "alembic" not in row[0]}


def test_migrations_make_the_tables_that_the_schema_says_on_sqlite(tmp_path: Path) -> None:
    made, migrated = (engine_of(f"sqlite:///{tmp_path}/{name}") for name in ("made", "migrated"))
    with made.begin() as one, migrated.begin() as other:
        setup._create(one)
        setup.migrate(other)
        assert sqlite_schema(one) == sqlite_schema(other)
        revision = text("SELECT version_num FROM alembic_version")
        assert one.execute(revision).scalar() == other.execute(revision).scalar()


def test_migrations_make_the_tables_that_the_schema_says_on_postgresql(postgres: Postgres) -> None:
    with postgres.fresh_database() as made, postgres.fresh_database() as migrated:
        with engine_of(made).begin() as one:
            setup._create(one)
            expected = postgres_schema(one)
        with engine_of(migrated).begin() as other:
            setup.migrate(other)
            assert postgres_schema(other) == expected


def test_a_database_of_a_newer_dray_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/database.sqlite"
    asyncio.run(open_database(url).close())
    with engine_of(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="another version"):
        open_database(url)


def test_tables_of_another_program_are_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/database.sqlite"
    with engine_of(url).begin() as connection:
        connection.execute(text("CREATE TABLE files (name TEXT)"))
    with pytest.raises(Conflict, match="not Dray's: files"):
        open_database(url)


def test_a_second_process_cannot_open_the_same_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/database.sqlite"
    database = open_database(url)
    with pytest.raises(Busy, match="another Dray server"):
        open_database(url)
    asyncio.run(database.close())
    asyncio.run(open_database(url).close())


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "not a url"])
def test_an_address_of_neither_kind_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        open_database(url)


def test_no_row_can_hold_a_state_that_its_machine_does_not_know(database_url: str) -> None:
    async def run() -> None:
        async with world_at(database_url) as world:
            await world.accept(file())
            for machine, table in TABLES.items():
                for state in MACHINES[machine]:
                    await world.execute(f"UPDATE {table} SET state = '{state}'")
                with pytest.raises(IntegrityError):
                    await world.execute(f"UPDATE {table} SET state = 'nonsense'")

    asyncio.run(run())


def test_no_batch_goes_through_a_whole_table(tmp_path: Path) -> None:
    """Every statement of an upload's life finds its rows by an index, whatever the table holds besides."""
    statements: list[tuple[str, Any]] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        statements.append((statement, parameters))

    async def run() -> None:
        async with world_at(f"sqlite:///{tmp_path}/database.sqlite") as world:
            statements.clear()
            await live(world)

    try:
        asyncio.run(run())
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    with engine_of(f"sqlite:///{tmp_path}/database.sqlite").connect() as connection:
        for statement, parameters in statements:
            if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                ordered = "SELECT events.stamp, events.id" in statement
                scans = [row[3] for row in plan if row[3].startswith("SCAN") and not (ordered or may_scan(row[3]))]
                assert not scans, statement


def may_scan(step: str) -> bool:
    """The batch itself, the queue's own small sets, constants."""
    return any(name in step for name in ("json_each", "CONSTANT ROW", "ranked", "chosen", "(subquery", "busy"))


async def live(world: World) -> None:
    await world.accept(file("a"), file("b"))
    await world.accept(file("a", "v2", "bb"), content="bb")
    await world.stage(file("a", "v3", "ccc", source="s"))
    await world.stage(file("a", "v4", "dddd", source="s"))
    await world.announcements.events(world.admin)
