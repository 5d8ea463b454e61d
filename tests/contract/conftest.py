"""One fixture: each place in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.places import LIMITS, PLACES, SERVERS, Place
from tests.servers.dray import DrayServer, dray_server


@pytest.fixture(scope="session")
def contract_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    """One server with small parts for the whole run."""
    options = {"DRAY_LIMITS_PART_SIZE": str(LIMITS.piece)}
    with dray_server(tmp_path_factory.mktemp("contract"), env=options) as server:
        yield server


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "dray":
        SERVERS["dray"] = request.getfixturevalue("contract_server")
    with PLACES[request.param](tmp_path) as found:
        yield found
