"""The rows that exist, in the order of the scoreboard. A new row is one module in ``rows`` and one line here."""

from tests.faults.plan import Row
from tests.faults.rows import h01_kill as h01
from tests.faults.rows import h02_outage as h02
from tests.faults.rows import h03_drops as h03
from tests.faults.rows import h04_hostile as h04
from tests.faults.rows import h05_sarracenia as h05
from tests.faults.rows import r01_kill_anything as r01
from tests.faults.rows import r02_kill_points as r02
from tests.faults.rows import r04_disk_errors as r04
from tests.faults.rows import r05_cuts as r05
from tests.faults.rows import r07_full_disk as r07
from tests.faults.rows import r09_broker as r09
from tests.faults.rows import r11_flips as r11
from tests.faults.rows import r12_rot as r12
from tests.faults.rows import r13_contention as r13
from tests.faults.rows import r16_moving_source as r16
from tests.faults.rows import r17_hot_folder as r17
from tests.faults.rows import r18_overflow as r18
from tests.faults.rows import r21_cluster as r21
from tests.faults.rows import s01_names as s01

ROWS: list[Row] = [
    row.ROW for row in (r01, r02, r04, r05, r07, r09, r11, r12, r13, r16, r17, r18, r21, h01, h02, h03, h04, h05, s01)
]


def row_named(name: str) -> Row:
    """Return a row by its id, in any letter case."""
    return next(row for row in ROWS if row.id == name.upper())
