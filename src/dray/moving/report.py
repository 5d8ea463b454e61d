"""What a mover tells whoever shows progress; called from the event loop only."""

from typing import Literal, Protocol

from dray.model.names import RemotePath
from dray.model.values import Outcome

Phase = Literal["hash", "send", "fetch", "verify", "publish", "wait"]


class Report(Protocol):
    """Listens to a move. Calls are cheap, many, and must not raise."""

    def phase(self, path: RemotePath, phase: Phase) -> None:
        """Say what is being done with a file from now on."""

    def moved(self, path: RemotePath, nbytes: int) -> None:
        """Count bytes of a file that were receipted since the last call (held parts count once, when found)."""

    def outcome(self, outcome: Outcome) -> None:
        """Say how a file ended; the last call for it."""


class NullReport:
    """Listens and says nothing."""

    def phase(self, path: RemotePath, phase: Phase) -> None:
        """Ignore it."""

    def moved(self, path: RemotePath, nbytes: int) -> None:
        """Ignore it."""

    def outcome(self, outcome: Outcome) -> None:
        """Ignore it."""
