import json
import re
from pathlib import Path

import pytest

from dray.api import openapi, problems
from dray.api.operation import ByteRoute, Described, Operation
from dray.api.operations import OPERATIONS
from dray.errors import DrayError, error_classes

CHECKED_IN = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT = openapi.document(OPERATIONS, "1")


def test_the_document_that_is_checked_in_is_what_the_table_says() -> None:
    fresh = json.loads(json.dumps(DOCUMENT))
    assert json.loads(CHECKED_IN.read_text()) == fresh, "run: python scripts/generate_openapi.py"


def test_names_and_addresses_are_given_once() -> None:
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)):
        assert name in schemas


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_operation_says_what_it_is_and_how_it_fails(operation: Described) -> None:
    shown = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert shown["summary"].endswith(".")
    statuses = set(shown["responses"])
    assert {"400", "405", str(operation.status)} <= statuses
    assert ({"401", "403"} <= statuses) or operation.scope is None
    assert isinstance(operation, Operation | ByteRoute)


def test_every_parameter_of_a_path_is_described() -> None:
    for path, operations in DOCUMENT["paths"].items():
        wanted = set(re.findall(r"{(\w+)}", path))
        for shown in operations.values():
            assert {p["name"] for p in shown["parameters"] if p["in"] == "path"} == wanted


def test_posts_take_a_key_unless_they_move_bytes() -> None:
    for operation in OPERATIONS:
        names = [parameter["name"] for parameter in openapi.parameters(operation)]
        expected = operation.method == "POST" and not isinstance(operation, ByteRoute)
        assert ("Idempotency-Key" in names) == expected, operation.name


@pytest.mark.parametrize("kind", sorted(error_classes().values(), key=lambda kind: kind.code))
def test_a_problem_of_every_kind_fits_its_schema(kind: type[DrayError]) -> None:
    shown = problems.title(kind)
    assert shown
    assert "\n" not in shown
