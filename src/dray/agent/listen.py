"""The choice between the ways to listen."""

import platform
from collections.abc import Callable

from dray.agent.bell import Bell, Silence
from dray.errors import DrayError


def choose(root: str, created: float, say: Callable[[str], None], deletions: bool = False) -> Bell:
    """Return the best bell that works here; ``say`` is told when it is none. It rings for deletions when asked."""
    try:
        if platform.system() == "Linux":
            from dray.agent.bell_linux import listen

            return listen(root, created, say, deletions)
        from dray.agent.bell_watchfiles import Watchfiles

        return Watchfiles(root, say, deletions)
    except DrayError as error:
        say(f"changes are not told here ({error}); new files are found by looking")
        return Silence()
