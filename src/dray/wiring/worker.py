"""Composes the worker: what does each kind of job, and the loop that gives it out."""

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence

from dray.core.queue import WorkQueue
from dray.core.record import Records
from dray.core.scrub import Scrubs
from dray.core.sweep import Sweep
from dray.threads import in_thread
from dray.transports.posix import PosixSession
from dray.transports.refs import published
from dray.wiring.base import STORE, Base
from dray.work.loop import Loop, Pace, Tools
from dray.work.scrub import ScrubHandler
from dray.work.steps import Handler, Place
from dray.work.sweep import SweepHandler
from dray.work.verify import Verify


async def work_until(base: Base, stop: asyncio.Event) -> None:
    """Work until ``stop`` is set, then finish what was begun."""
    queue = WorkQueue(base.database, base.clock, base.bell)
    await queue.start()
    tools = Tools(queue, handlers(base), base.clock, base.bell, holder())
    await Loop(tools, Pace(slots=base.settings.server.workers)).run(stop)


def handlers(base: Base) -> dict[str, Handler]:
    """Return who does each kind of job."""
    # A job that is repeated after a crash has to find what it had published.
    place = Place(STORE, base.session.comparing(), published, Attic(base.session))
    of_state = (base.database, base.clock, base.bell)
    return {
        "verify": Verify(place, base.uploads, Records(*of_state, STORE)),
        "scrub": ScrubHandler([place], Scrubs(*of_state)),
        "sweep": SweepHandler(place, Sweep(*of_state), base.clock),
    }


def holder() -> str:
    """Return a name for this worker that no other one has, also after a restart."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Attic:
    """The staged bytes of a posix store by their names."""

    def __init__(self, session: PosixSession) -> None:
        self._staging = session.staging
        self._before = 0.0

    async def leftovers(self, before: float) -> Sequence[str]:
        """Return all staged names; only those untouched since ``before`` are ever discarded."""
        self._before = before
        seen = _Seen()
        await in_thread(None, self._staging.sweep, seen, 0.0)
        return sorted(seen.names)

    async def discard(self, names: Sequence[str]) -> None:
        """Remove those of ``names`` that are still untouched."""
        await in_thread(None, self._staging.sweep, _AllBut(set(names)), self._before)


class _Seen:
    """Takes every name for live, and remembers it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return True


class _AllBut:
    """Every name but some."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def __contains__(self, name: object) -> bool:
        return name not in self._names
