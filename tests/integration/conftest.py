"""What tests of this folder share."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dray.state.database import open_database
from dray.state.schema import metadata
from tests.servers.postgres import Postgres


@pytest.fixture(scope="session")
def state_postgres(postgres: Postgres) -> Iterator[str]:
    """One database with Dray's tables a run: making one takes seconds."""
    with postgres.fresh_database() as url:
        asyncio.run(open_database(url).close())
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database of either kind whose tables are empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/database.sqlite"
    postgres, url = request.getfixturevalue("postgres"), str(request.getfixturevalue("state_postgres"))
    tables = ", ".join(name for name in metadata.tables if name != "counters")
    postgres.execute(f"TRUNCATE {tables} RESTART IDENTITY", url.rpartition("/")[2])
    return url
