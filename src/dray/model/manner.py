"""How the files of a hot directory are sent: the part of its settings that decisions need."""

from typing import Literal

from dray.model.layout import Layout
from dray.model.retry import FOR_DAYS, Persistence
from dray.model.values import OnExists, Value

Order = Literal["oldest", "newest", "smallest"]
"""Which of the waiting files go first; ``oldest`` means noticed first."""

EVENTS = frozenset(("create", "modify", "delete", "rename", "mkdir", "symlink"))


class Manner(Value, frozen=True):
    """How files are sent.

    ``rate`` is in files a second. ``expire`` is for how many seconds since it was put here a file is worth sending.
    ``events`` are what is forwarded. More than ``max_delete`` deletions together are taken for an accident, and wait.
    """

    layout: Layout = Layout()
    order: Order = "oldest"
    rate: float | None = None
    persistence: Persistence = FOR_DAYS
    expire: float | None = None
    events: frozenset[str] = frozenset(("create", "modify"))
    on_exists: OnExists = "version"
    max_delete: int = 1000

    @property
    def modifies(self) -> bool:
        """Say whether new versions of delivered files are sent."""
        return "modify" in self.events

    @property
    def deletes(self) -> bool:
        """Say whether deletions are forwarded."""
        return "delete" in self.events

    @property
    def renames(self) -> bool:
        """Say whether a renamed file is renamed at the destination, too."""
        return "rename" in self.events

    @property
    def folders(self) -> bool:
        """Say whether folders are made at the destination, empty ones too."""
        return "mkdir" in self.events

    @property
    def links(self) -> bool:
        """Say whether symbolic links are made at the destination."""
        return "symlink" in self.events


PLAIN = Manner()
"""How files are sent unless somebody says otherwise."""
