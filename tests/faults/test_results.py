"""The table shows what was run: too few tries, a missing proof or one failure, and a row is not met."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.__main__ import run, sound
from tests.faults.plan import Plan, Row
from tests.faults.results import Result, keep, kept, write_table

PROOF = "exit -9"


def row_of(*tries: tuple[str | None, Sequence[str]]) -> Row:
    def make(plan: Plan) -> None:
        for number, (proof, findings) in enumerate(tries):
            plan.record(f"try {number}", proof, findings)

    return Row("R0", "an example", "L0", make, ci=2, full=20, slice=1)


@pytest.mark.parametrize(
    ("tries", "met"),
    [
        ([(PROOF, []), (PROOF, [])], True),
        ([(PROOF, [])], False),
        ([(PROOF, []), (None, [])], False),
        ([(PROOF, []), (PROOF, ["L: gone"])], False),
        ([], False),
    ],
)
def test_a_row_is_met_only_when_all_was_tried_proven_and_held(
    tries: list[tuple[str | None, list[str]]], met: bool, tmp_path: Path
) -> None:
    result = run(row_of(*tries), "ci", 1, tmp_path)
    assert result.met is met


def test_the_ci_count_does_not_make_the_full_row_met(tmp_path: Path) -> None:
    assert not run(row_of((PROOF, []), (PROOF, [])), "full", 1, tmp_path).met


def test_an_experiment_that_breaks_is_a_failure(tmp_path: Path) -> None:
    def broken(plan: Plan) -> None:
        raise OSError("no strace here")

    result = run(replace(row_of(), run=broken), "ci", 1, tmp_path)
    assert not sound(result)
    assert result.failures == ["the experiment: broke: OSError('no strace here')"]


def test_the_same_seed_makes_the_same_choices(tmp_path: Path) -> None:
    one, other = (Plan(row_of(), "ci", 7, tmp_path).chance("kills", 3).random() for _ in range(2))
    assert one == other != Plan(row_of(), "ci", 8, tmp_path).chance("kills", 3).random()


def test_results_are_kept_and_the_table_is_made_from_them(tmp_path: Path) -> None:
    met = run(row_of((PROOF, []), (PROOF, [])), "ci", 1, tmp_path)
    failed = run(replace(row_of((PROOF, ["C: bytes differ"]), (PROOF, [])), id="R9"), "ci", 1, tmp_path)
    keep(met, tmp_path / "results")
    keep(failed, tmp_path / "results")
    found: list[Result] = kept(tmp_path / "results")
    rows = [row_of(), replace(row_of(), id="R9"), replace(row_of(), id="R10")]
    table = write_table(rows, found, tmp_path / "faults.md")
    lines = [line for line in table.splitlines() if line.startswith("| R")]
    assert [line.split("|")[-2].strip() for line in lines] == ["met", "**not met**", "**not met**"]
    assert "try 0: C: bytes differ" in table
    assert json.loads((tmp_path / "results" / "R0.json").read_text())["proofs"] == ["try 0: exit -9", "try 1: exit -9"]


def test_a_room_is_kept_only_when_a_try_in_it_failed(tmp_path: Path) -> None:
    plan = Plan(row_of(), "ci", 1, tmp_path)
    for name, findings in (("good", []), ("bad", ["L: gone"])):
        with plan.room(name) as room:
            (room / "file").touch()
            plan.record(name, PROOF, findings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["R0-bad"]
