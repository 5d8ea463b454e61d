"""One fixture: each place in turn."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.contract.places import CEPHS, LIMITS, PLACES, SERVERS, SSHDS, Place
from tests.servers.dray import DrayServer, dray_server
from tests.servers.sshd import Sshd, sshd


@pytest.fixture(scope="session")
def contract_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    """One server with small parts for the whole run."""
    options = {"DRAY_LIMITS_PART_SIZE": str(LIMITS.piece)}
    with dray_server(tmp_path_factory.mktemp("contract"), env=options) as server:
        yield server


@pytest.fixture(scope="session")
def contract_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    """One sshd for accounts with a shell and one for those without; sessions share a connection to each."""
    # The path of a socket is short.
    with TemporaryDirectory(prefix="sshd-") as base, ExitStack() as stack:
        servers = {"sftp": sshd(Path(base) / "a"), "sftp-only": sshd(Path(base) / "b", only_sftp=True)}
        found = {name: stack.enter_context(server) for name, server in servers.items()}
        for server in found.values():
            stack.enter_context(server.master())
        yield found


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "dray":
        SERVERS["dray"] = request.getfixturevalue("contract_server")
    if request.param.startswith("sftp"):
        SSHDS.update(request.getfixturevalue("contract_sshd"))
    if request.param == "s3":
        CEPHS["s3"] = request.getfixturevalue("ceph_server")
    with PLACES[request.param](tmp_path) as found:
        yield found
