"""Runs rows and writes the table: ``python -m tests.faults [ROW...] [--full | --slice] [--seed N] [--count N]``."""

import argparse
import os
import secrets
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from tests.faults.plan import Mode, Plan, Row
from tests.faults.registry import ROWS, row_named
from tests.faults.results import ROOT, Result, keep, result_of, write_kept

SCRATCH = ROOT / ".faults"


def main() -> int:
    """Run what was asked for; 0 when every row that ran is met."""
    options = parse()
    chosen = [row_named(name) for name in options.rows] or ROWS
    mode: Mode = "full" if options.full else "slice" if options.slice else "ci"
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    base = Path(options.base) if options.base else SCRATCH / "run"
    print(f"seed {seed}, {mode}", flush=True)
    results = [run(counted(row, options.count), mode, seed, base) for row in chosen]
    if mode != "slice" and not options.count:
        for result in results:
            keep(result)
        write_kept(ROWS)
    for result in results:
        failed = f", {len(result.failures)} failures" if result.failures else ""
        words = "met" if result.met else "not met"
        print(f"{result.row:4} {result.tries} of {result.wanted}{failed}, {result.minutes:g} min: {words}")
    return 0 if all(sound(result) for result in results) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the fault scoreboard")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="R1, R2, ...; all that exist when none is named")
    parser.add_argument("--full", action="store_true", default=bool(os.environ.get("FULL")))
    parser.add_argument("--slice", action="store_true", help="a few tries of each; nothing is kept")
    parser.add_argument("--seed", type=int, default=int(os.environ["SEED"]) if os.environ.get("SEED") else None)
    parser.add_argument("--count", type=int, help="so many tries instead; nothing is kept")
    parser.add_argument("--base", help="scratch directory")
    return parser.parse_args()


def counted(row: Row, count: int | None) -> Row:
    return replace(row, ci=count, full=count, slice=count) if count else row


def run(row: Row, mode: Mode, seed: int, base: Path) -> Result:
    """Run one row; what breaks the experiment itself is a failure of the row."""
    print(f"== {row.id} {row.title}", flush=True)
    plan = Plan(row, mode, seed, base)
    try:
        row.run(plan)
    except Exception as error:
        traceback.print_exc()
        plan.record("the experiment", None, [f"broke: {error!r}"])
    return result_of(plan)


def sound(result: Result) -> bool:
    """Say whether nothing failed; too few tries alone are no failure of a run that was asked to be short."""
    return not result.failures and result.proven == result.tries > 0


if __name__ == "__main__":
    sys.exit(main())
