"""Every operation of docs/openapi.json against a running server: no answer of class 5xx, none that is not documented.

Some 700 requests come from the bounds in the schemas; ``DRAY_TEST_EXAMPLES`` says how many random ones each operation
gets besides.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.rest import Rest
from tests.servers.dray import DrayServer, clean_environment, dray_server

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "openapi.json"
EXAMPLES = os.environ.get("DRAY_TEST_EXAMPLES", "2")
SEED = "20261120"

# What a schema cannot say is beyond schemathesis: a cursor is one of ours or not, a key belongs to one request.
CHECKS = ["--checks=all", "--exclude-checks=positive_data_acceptance"]
LATER = ["stream_events", "revoke_token"]
"""A stream that does not end has tests of its own; revoking could end the right of all that follows."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    with dray_server(tmp_path_factory.mktemp("schemathesis")) as running:
        rest = Rest(running)
        rest.upload("a", {"a": b"a", "b/c": b"bc"})
        rest.token_with("read")
        yield running


def attack(server: DrayServer, token: str, *options: str) -> None:
    """Run schemathesis; fail with its report."""
    command = [str(Path(sys.executable).parent / "st"), "run", str(DOCUMENT), "--url", server.url]
    command += ["--header", f"Authorization: Bearer {token}", *CHECKS, "--phases=coverage,fuzzing"]
    command += [f"--max-examples={EXAMPLES}", f"--seed={SEED}", "--request-timeout=60", "--warnings=off", "--no-shrink"]
    env = clean_environment(server.home) | {"SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks"}
    env |= {"no_proxy": "*", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([*command, *options], cwd=server.home, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]


def is_well(server: DrayServer) -> None:
    assert "Traceback" not in server.log
    assert Rest(server, "").ask("GET", "/health").status == 200


@pytest.mark.timeout(1800)
def test_every_operation_keeps_to_its_document(server: DrayServer) -> None:
    attack(server, server.token, *(f"--exclude-operation-id={name}" for name in LATER))
    is_well(server)
    assert Rest(server).upload("after", {"f": b"still works"})[0]["state"] == "accepted"


@pytest.mark.timeout(600)
def test_revoking_keeps_to_its_document_also_when_it_revokes_its_own_token(server: DrayServer) -> None:
    admin, _ = Rest(server).token_with("admin")
    attack(server, admin.token, "--include-operation-id=revoke_token")
    is_well(server)
