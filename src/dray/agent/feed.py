"""Names that come from elsewhere than the directory itself: announcements of a broker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dray.agent.journal import Key
from dray.model.settle import Notice


@dataclass(frozen=True, slots=True)
class Fed:
    """What was announced together: names to look at, and names that are said to be ``gone``.

    Only the file system says what becomes of a name. One that is not there yet is looked for again for a while.
    ``lost`` says that names may have been told of that never came: the whole directory is looked through for them.
    ``carried`` is what travels on with files until they are announced in turn. ``token`` is the feed's own.
    """

    names: Mapping[Key, Notice]
    gone: Sequence[Key] = ()
    lost: bool = False
    carried: Mapping[Key, str] = field(default_factory=dict)
    token: object = field(default=None, compare=False)


class Feed(Protocol):
    """Tells of names; whatever fails in it and may pass is its own to repeat."""

    async def next(self) -> Fed:
        """Wait for names and return them; a cancelled call loses none."""

    async def pause(self) -> None:
        """Leave to others whatever is not recorded, until ``next`` is called again."""

    async def recorded(self, fed: Fed) -> None:
        """Hear that these names are durably in the journal, so that they may be acknowledged."""
