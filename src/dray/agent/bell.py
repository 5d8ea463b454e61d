"""How an agent hears that something happened below its directory. Only a wake-up: the rescan is the truth."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from dray.agent.journal import Key
from dray.agent.look import NEWS
from dray.model.settle import Notice

MOST = 50_000
"""Names that are kept until somebody takes them; with more, looking through the directory is cheaper."""


@dataclass(slots=True)
class Rings:
    """What was heard: names, folders to look through (``renamed``: as they are), and whether something was missed."""

    names: dict[Key, Notice] = field(default_factory=dict)
    folders: dict[str, Notice] = field(default_factory=dict)
    lost: bool = False

    def __bool__(self) -> bool:
        return bool(self.names or self.folders or self.lost)

    def hear(self, key: Key, notice: Notice) -> None:
        """Add a name; what tells more about its end wins."""
        if len(self.names) >= MOST:
            self.lost = True
            self.names.clear()
        self.names[key] = max(self.names.get(key, notice), notice, key=NEWS.__getitem__)


class Bell(Protocol):
    """Rings when something happened; it may miss things, and says so where it knows."""

    name: str
    """How it listens, for people."""

    trusted: bool
    """Whether it tells everything where nobody but this machine writes."""

    def watch(self, folder: str) -> None:
        """Listen to a folder from now on; called from any thread, before the folder is listed, again at will."""

    async def rings(self) -> Rings:
        """Wait until something was heard and return all of it."""

    def close(self) -> None:
        """Stop listening."""


class Heard:
    """Keeps what was heard until somebody waits for it; used in the event loop only."""

    def __init__(self) -> None:
        self._rings = Rings()
        self._something = asyncio.Event()

    @property
    def rings(self) -> Rings:
        """Return what to add to; call ``tell`` afterwards."""
        return self._rings

    def tell(self) -> None:
        """Wake who waits, if there is anything to tell."""
        if self._rings:
            self._something.set()

    async def take(self) -> Rings:
        """Wait for something and take all of it."""
        await self._something.wait()
        self._something.clear()
        taken, self._rings = self._rings, Rings()
        return taken


class Silence:
    """Hears nothing, so that looking through the directory is all there is."""

    name = "looking"
    trusted = False

    def watch(self, folder: str) -> None:
        """Do nothing."""

    async def rings(self) -> Rings:
        """Wait for ever."""
        await asyncio.Event().wait()
        return Rings()

    def close(self) -> None:
        """Do nothing."""
