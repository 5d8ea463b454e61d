"""The rows that exist, in the order of the scoreboard. A new row is one module in ``rows`` and one line here."""

from tests.faults.plan import Row

ROWS: list[Row] = []


def row_named(name: str) -> Row:
    """Return a row by its id, in any letter case."""
    return next(row for row in ROWS if row.id == name.upper())
