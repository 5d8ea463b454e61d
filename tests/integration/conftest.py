"""What tests of this folder share."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dray.state.database import open_database
from dray.state.schema import metadata
from tests.integration.client import Client
from tests.servers.dray import DrayServer, dray_server
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


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    """One `dray up` with small parts a run, which nobody kills."""
    with dray_server(tmp_path_factory.mktemp("live"), env={"DRAY_LIMITS_PART_SIZE": "1MiB"}) as server:
        yield server


@pytest.fixture
def client(live_server: DrayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A user of that server, with a home and a dataset of their own."""
    return Client(live_server, tmp_path, monkeypatch)
