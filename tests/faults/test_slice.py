"""A seeded slice of every row: few tries, all of them proven and none of them failed."""

import os
from pathlib import Path

import pytest

from tests.faults.__main__ import run, sound
from tests.faults.plan import Row
from tests.faults.registry import ROWS
from tests.faults.results import ROOT, keep, kept, write_table

SEED = int(os.environ.get("SEED", "2026"))
SLICE = ROOT / ".faults" / "slice"


@pytest.mark.timeout(480)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections to what was killed
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_slice_of_the_row_holds(row: Row, tmp_path: Path) -> None:
    result = run(row, "slice", SEED, tmp_path)
    keep(result, SLICE / "results")
    write_table(ROWS, kept(SLICE / "results"), SLICE / "faults.md")
    assert result.failures == []
    assert sound(result)
