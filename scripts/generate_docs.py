"""Write docs/states.md from the tables of model/states.py; ``--check`` only says whether it is stale."""

import sys
from pathlib import Path

from dray.model.states import MACHINES, MEANINGS, Transitions, final

TARGET = Path(__file__).parent.parent / "docs" / "states.md"

HEAD = """# States

Made by `scripts/generate_docs.py` from the tables in `dray/model/states.py`, as are the CHECKs of the database.
One function changes states (`dray/state/transition.py`): it compares and sets, and writes the event with it.
A state with no way out is printed in bold.
"""


def text() -> str:
    """Return the page as it is checked in."""
    return "\n".join([HEAD, *(section(name, table) for name, table in MACHINES.items())])


def section(machine: str, table: Transitions) -> str:
    """Return one machine: what it is, a diagram, and a row for each state."""
    meanings = MEANINGS[machine]
    arrows = [f"    {before} --> {after}" for before, states in table.items() for after in states]
    diagram = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(table))}", *arrows, "```"]
    rows = [f"| {shown(machine, state)} | {meanings[state]} | {', '.join(table[state])} |" for state in table]
    table_of_states = ["| state | means | may become |", "|---|---|---|", *rows]
    return "\n".join([f"## {machine.capitalize()}", meanings[""], "", *diagram, "", *table_of_states, ""])


def shown(machine: str, state: str) -> str:
    return f"**{state}**" if final(machine, state) else state


def main() -> int:
    if "--check" in sys.argv[1:]:
        stale = not TARGET.exists() or TARGET.read_text() != text()
        print(f"{TARGET.name} is {'stale: run python scripts/generate_docs.py' if stale else 'up to date'}")
        return int(stale)
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
