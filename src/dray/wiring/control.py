"""Where the agent of this user and its commands meet."""

from dray.agent.control import Control
from dray.config import paths


def control() -> Control:
    """Return it; nothing is made yet."""
    return Control(paths.user_state_dir() / "agent")
