"""What ``dray watch`` is put together from."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dray.client.address import Place
from dray.client.api import Api
from dray.client.elsewhere import Elsewhere
from dray.clock import Clock
from dray.config import paths
from dray.errors import DrayError
from dray.model.retry import Persistence
from dray.transports.base import Session
from dray.transports.dray import DraySettings, DrayTransport
from dray.transports.wrappers import Retrying
from dray.wiring.client import Options, Waiting

LONGEST = 8.0
"""Seconds between two tries, so that work goes on soon after a server is back."""

VERDICT = 3600.0
"""Seconds that a server may take to read a batch again; later it is asked anew."""


def journal_of(root: str, place: Place | Elsewhere | str) -> Path:
    """Return the file of the journal of a directory (its real path) and where it goes."""
    name = hashlib.sha256(f"{root}\0{place}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return paths.user_state_dir() / "hot" / f"{name}.sqlite"


@asynccontextmanager
async def destination(
    api: Api, place: Place, options: Options, clock: Clock, waiting: Waiting
) -> AsyncIterator[Session]:
    """Open the dataset; calls are made again while the server is away."""

    def tell(error: DrayError, delay: float) -> None:
        waiting(f"{error.message}; next try in {delay:.0f} s")

    settings = DraySettings(place.dataset, options.create, options.parallel, VERDICT)
    async with DrayTransport(api, settings, clock).connect() as session:
        yield Retrying(session, clock, tell, Persistence(options.retry_for, LONGEST))
