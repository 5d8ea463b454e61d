"""What the operations of the API work with; made once, in wiring."""

import asyncio
from dataclasses import dataclass, field

from dray.api.counters import Counters
from dray.api.signing import Signer
from dray.api.slots import Slots
from dray.api.store import Store
from dray.clock import Clock
from dray.core.access import Access
from dray.core.announce import Announcements
from dray.core.datasets import Datasets
from dray.core.queue import Jobs
from dray.core.sweep import Repeats
from dray.core.uploads import Uploads


@dataclass(frozen=True)
class About:
    """What this server says of itself. ``url`` is its address for others, when a proxy stands before it.

    A file up to ``part_size`` bytes is one piece.
    """

    version: str
    database: str
    started: float
    url: str | None = None
    part_size: int = 32 << 20


@dataclass(frozen=True)
class Services:
    """The use cases and what the byte routes need besides. ``stopping`` ends what would go on for ever."""

    access: Access
    uploads: Uploads
    datasets: Datasets
    announcements: Announcements
    jobs: Jobs
    repeats: Repeats
    signer: Signer
    clock: Clock
    about: About
    store: Store
    counters: Counters = field(default_factory=Counters)
    slots: Slots = field(default_factory=Slots)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
