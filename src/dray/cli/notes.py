"""The notes of this user for a command: kept where they can be, done without (and told) where they cannot."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from dray.cli.context import App
from dray.client.address import Place
from dray.client.elsewhere import Elsewhere
from dray.clock import Clock
from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.values import Outcome
from dray.moving.known import Known, Sent
from dray.moving.walk import Tree
from dray.threads import in_thread
from dray.wiring import client as wiring


class Notes:
    """A context manager; ``known`` is None where the state directory cannot be written."""

    def __init__(self, app: App, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self.known: Known | None = None

    def __enter__(self) -> "Notes":
        try:
            self.known = wiring.known()
        except DrayError as error:
            self._app.display.warn(f"going on without notes, so `dray safe` needs --to: {error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.known:
            self.known.close()

    async def sent(self, trees: Sequence[Tree], place: Place | Elsewhere) -> None:
        """Note where the trees are being sent; places that `dray safe` cannot ask are left out."""
        if not isinstance(place, Place):
            return
        now = self._clock.wall()
        found = [Sent(local, place.server, place.dataset, path, now) for tree in trees for local, path in _locals(tree)]
        await self._try(lambda known: known.remember(found))

    async def digests(self, outcomes: Sequence[Outcome]) -> None:
        """Note what was read of files that arrived, so that `dray safe` need not read them again."""
        found: Mapping[str, Checksum] = {
            one.version: one.checksum for one in outcomes if one.checksum and one.kind != "failed"
        }
        await self._try(lambda known: known.keep(found, self._clock.wall()))

    async def _try(self, work: Callable[[Known], None]) -> None:
        """Do without the notes from the first failure on."""
        if self.known is None:
            return
        try:
            await in_thread(None, work, self.known)
        except DrayError as error:
            self.known = None
            self._app.display.warn(f"going on without notes: {error}")


def _locals(tree: Tree) -> list[tuple[str, str]]:
    """Return the local paths that were named, with where they go."""
    if tree.names is None:
        return [(tree.root, tree.prefix)]
    return [(os.path.join(tree.root, name), path) for name, path in tree.names]
