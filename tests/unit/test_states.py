"""The tables of states, what is made from them, and the function that moves by them."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.errors import Conflict
from dray.model.states import MACHINES, MEANINGS, UPLOAD, UPLOAD_LIVE, check, final

ROOT = Path(__file__).parents[2]
machines = st.sampled_from(sorted(MACHINES))


def test_every_state_has_a_sentence_that_says_what_it_means() -> None:
    for machine, table in MACHINES.items():
        assert set(MEANINGS[machine]) == {"", *table}
        assert all(MEANINGS[machine].values())


def test_the_page_of_states_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "generate_docs.py"))
    assert (ROOT / "docs" / "states.md").read_text() == made["text"](), "run python scripts/generate_docs.py"


@given(machine=machines, data=st.data())
def test_a_change_is_allowed_exactly_when_the_table_says_so(machine: str, data: st.DataObject) -> None:
    table = MACHINES[machine]
    before, after = (data.draw(st.sampled_from(sorted(table))) for _ in range(2))
    if after in table[before]:
        check(machine, before, after)
    else:
        with pytest.raises(Conflict, match=f"is {before}, it cannot become {after}"):
            check(machine, before, after)


@given(machine=machines, data=st.data())
def test_every_state_can_be_reached_and_every_walk_ends_or_goes_on(machine: str, data: st.DataObject) -> None:
    table = MACHINES[machine]
    reached, todo = set(), [next(iter(table))]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo.extend(table[state])
    assert reached == set(table)
    state = data.draw(st.sampled_from(sorted(table)))
    assert final(machine, state) == (not table[state])


def test_a_live_upload_is_one_that_may_still_be_accepted_or_is() -> None:
    hopeful = {state for state in UPLOAD if state == "accepted" or "accepted" in UPLOAD[state]}
    assert set(UPLOAD_LIVE) == hopeful | {"pending"}
