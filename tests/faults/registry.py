"""The rows that exist, in the order of the scoreboard. A new row is one module in ``rows`` and one line here."""

from tests.faults.plan import Row
from tests.faults.rows import r01_kill_anything, r02_kill_points, r05_cuts

ROWS: list[Row] = [r01_kill_anything.ROW, r02_kill_points.ROW, r05_cuts.ROW]


def row_named(name: str) -> Row:
    """Return a row by its id, in any letter case."""
    return next(row for row in ROWS if row.id == name.upper())
