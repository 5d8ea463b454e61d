"""Write docs/openapi.json from the table of operations; ``--check`` only says whether it is stale."""

import json
import sys
from pathlib import Path

from dray.api.openapi import document
from dray.api.operations import OPERATIONS

TARGET = Path(__file__).parent.parent / "docs" / "openapi.json"


def text() -> str:
    """Return the document as it is checked in; it carries the version of the API, not of the package."""
    return json.dumps(document(OPERATIONS, "1"), indent=1, ensure_ascii=True, sort_keys=False) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        stale = not TARGET.exists() or TARGET.read_text() != text()
        print(f"{TARGET.name} is {'stale: run python scripts/generate_openapi.py' if stale else 'up to date'}")
        return int(stale)
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
