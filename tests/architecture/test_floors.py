"""Imports go down the floors of docs/architecture.md only."""

import subprocess
import sys
from pathlib import Path

import grimp
from importlinter.domain.contract import Contract

from tests.architecture.contracts import Never, Only

ROOT = Path(__file__).parents[2]


def test_the_floors_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def house() -> grimp.ImportGraph:
    """Return a small graph: moving reaches state through a helper, and core imports a library itself."""
    graph = grimp.ImportGraph()
    for module in ("dray", "dray.moving", "dray.moving.move", "dray.helper", "dray.state", "dray.core"):
        graph.add_module(module)
    graph.add_module("sqlalchemy", is_squashed=True)
    for importer, imported in (
        ("dray.moving.move", "dray.helper"),
        ("dray.helper", "dray.state"),
        ("dray.state", "sqlalchemy"),
        ("dray.core", "sqlalchemy"),
    ):
        graph.add_import(importer=importer, imported=imported)
    return graph


def wrongs(kind: type[Contract], **options: list[str]) -> list[str]:
    check = kind("a contract", {}, options).check(house(), verbose=False)
    assert check.kept is not bool(check.metadata["wrong"])
    return check.metadata["wrong"]


def test_never_finds_indirect_imports_of_our_own_packages() -> None:
    found = wrongs(Never, sources=["dray.moving"], forbidden=["dray.state"])
    assert found == ["dray.moving.move -> dray.helper -> dray.state"]


def test_never_finds_direct_imports_of_foreign_packages_alone() -> None:
    assert wrongs(Never, sources=["dray.core"], forbidden=["sqlalchemy"]) == ["dray.core imports sqlalchemy"]
    assert wrongs(Never, sources=["dray.moving"], forbidden=["sqlalchemy"]) == []


def test_only_finds_importers_it_does_not_name() -> None:
    assert wrongs(Only, modules=["sqlalchemy"], importers=["dray.state"]) == ["dray.core imports sqlalchemy"]
    assert wrongs(Only, modules=["sqlalchemy"], importers=["dray.state", "dray.core"]) == []


def test_contracts_tolerate_packages_that_do_not_exist_yet() -> None:
    assert wrongs(Only, modules=["aio_pika"], importers=["dray.messaging"]) == []
    assert wrongs(Never, sources=["dray.messaging"], forbidden=["dray.state"]) == []
