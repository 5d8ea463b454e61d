"""Real servers as fixtures, and the cheap tests first.

What is slow to import (psycopg, selenium) is imported by the fixture that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.servers.dray import DrayServer
from tests.servers.dray import dray_server as run_dray_server
from tests.servers.nginx import Nginx, nginx_webdav

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.servers.ceph import Ceph
    from tests.servers.postgres import Postgres
    from tests.servers.rabbitmq import RabbitMQ

ORDER = ["unit", "architecture", "contract", "integration", "e2e", "faults"]
TESTS = Path(__file__).parent

# The same examples in every run, and no opinion on how long one takes.
hypothesis.settings.register_profile("dray", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("dray")

# Everything here talks to loopback; a proxy of the machine must not get between.
os.environ.update({"no_proxy": "*", "NO_PROXY": "*"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=cost)


def cost(item: pytest.Item) -> int:
    group = item.path.relative_to(TESTS).parts[0]
    return ORDER.index(group) if group in ORDER else len(ORDER)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One quick cluster a run; what is tested is behaviour, not durability."""
    from tests.servers.postgres import postgres_cluster

    with postgres_cluster() as cluster:
        yield cluster


@pytest.fixture
def durable_postgres() -> Iterator[Postgres]:
    """A cluster of this test's own with fsync on, to be killed."""
    from tests.servers.postgres import postgres_cluster

    with postgres_cluster(durable=True) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database of this test's own."""
    with postgres.fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQ]:
    """One broker a run, which tests may kill and start again."""
    from tests.servers.rabbitmq import rabbitmq

    with rabbitmq() as broker:
        yield broker


@pytest.fixture
def broker(rabbitmq_server: RabbitMQ) -> RabbitMQ:
    """A broker that runs, whatever the last test did to it."""
    if not rabbitmq_server.process.running:
        rabbitmq_server.start()
    return rabbitmq_server


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[Ceph]:
    """One Ceph a run, whose gateway tests may kill and start again."""
    from tempfile import TemporaryDirectory

    from tests.servers.ceph import ceph

    # The paths of its sockets are short.
    with TemporaryDirectory(prefix="ceph-") as base, ceph(Path(base) / "c") as server:
        yield server


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    with nginx_webdav(tmp_path / "nginx") as server:
        yield server


@pytest.fixture
def dray_server(tmp_path: Path) -> Iterator[DrayServer]:
    """A running `dray up` with an empty data directory."""
    with run_dray_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A fresh headless Chromium; `tests.servers.browser.chromium` has the options."""
    from tests.servers.browser import chromium

    with chromium(tmp_path / "profile") as driver:
        yield driver
