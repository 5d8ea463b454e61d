"""Makes the tables of an empty database at once, and upgrades older ones by migrations."""

from sqlalchemy import Connection, Engine, inspect, text

from dray.errors import Conflict
from dray.state.schema import REVISION, metadata

LOCK = 0x64726179
"""Number of the advisory lock under which one process at a time prepares a PostgreSQL database."""


def prepare(engine: Engine) -> None:
    """Bring the tables to this version of Dray; raises Conflict when they are of a newer one."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        revision = _revision(connection)
        if revision is None:
            _create(connection)
        elif revision != REVISION:
            migrate(connection)
        if connection.dialect.name == "postgresql":
            _order_stamps(connection)


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _create(connection: Connection) -> None:
    foreign = set(inspect(connection).get_table_names()) & set(metadata.tables)
    if foreign:
        raise Conflict(f"the database holds tables that are not Dray's: {', '.join(sorted(foreign))}")
    metadata.create_all(connection, checkfirst=False)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REVISION})
    connection.execute(text("INSERT INTO counters (name, value) VALUES ('events', 0)"))


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, in the transaction of ``connection``."""
    # Only an upgrade pays for importing alembic.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "dray.state:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Conflict(
            f"the tables were made by another version of Dray ({error})", hint="start that version"
        ) from error


def _order_stamps(connection: Connection) -> None:
    """Keep stamps rising when the database was restored into a cluster whose transaction numbers are lower (ADR 4)."""
    newest = connection.execute(text("SELECT coalesce(max(stamp), -1) FROM events")).scalar_one()
    base = connection.execute(text("SELECT value FROM counters WHERE name = 'events'")).scalar_one()
    number = connection.execute(text("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)")).scalar_one()
    if newest >= base + number:
        raised = {"base": newest + 1}
        connection.execute(text("UPDATE counters SET value = :base WHERE name = 'events'"), raised)
