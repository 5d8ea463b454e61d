"""One fixture: each place in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.places import PLACES, Place


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as found:
        yield found
