"""Announces what arrived, in order and at least once: recorded with the delivery, forgotten when it was announced."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dray.agent.journal import Journal, Key
from dray.agent.ledger import Ledger
from dray.errors import DrayError
from dray.model.schedule import pause
from dray.model.values import Arrived

BATCH = 256

ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(Arrived)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What arrived, with a number that tells it apart from all others of this journal, also when it comes again."""

    number: int
    arrived: Arrived


Announce = Callable[[Sequence[Announcement]], Awaitable[None]]
"""Announces, durably, everything it is given, or raises DrayError; then it is given the same again."""


def keep(journal: Journal, arrived: Sequence[Arrived]) -> None:
    """Keep what arrived until it is announced, with what it carries. Blocks."""
    journal.post([ENCODER.encode(_with_carried(journal, one)) for one in arrived])


def carry(journal: Journal, carried: Mapping[Key, str]) -> None:
    """Keep what files carry until they arrive. Blocks."""
    for key, text in carried.items():
        if text:
            journal.note(_note(key.path), text)
        else:
            journal.forget(_note(key.path))


def _with_carried(journal: Journal, arrived: Arrived) -> Arrived:
    name = _note(arrived.origin)
    text = journal.recall(name)
    if text is None:
        return arrived
    row = journal.row(Key(*arrived.origin.rpartition("/")[::2]))
    if row is not None and row.state == "delivered":
        journal.forget(name)
    return msgspec.structs.replace(arrived, carried=text)


def _note(path: str) -> str:
    """Return the name of a note about a path that may be no UTF-8."""
    return f"carried {path!a}"


class Outbox:
    """Empties the outbox of one journal for as long as it runs."""

    def __init__(self, ledger: Ledger, announce: Announce, waiting: Callable[[str], None]) -> None:
        self._ledger, self._announce, self._waiting = ledger, announce, waiting
        self._rung = asyncio.Event()
        self._trouble = ""

    def ring(self) -> None:
        """Say that there may be something to announce."""
        self._rung.set()

    async def step(self) -> None:
        """Announce what there is, or wait until there may be something."""
        self._rung.clear()
        if not await self.batch():
            await self._rung.wait()

    async def batch(self) -> bool:
        """Announce one batch and say whether there was any; what fails is announced again, however long it takes."""
        found = await self._ledger.run(lambda journal: journal.outbox(BATCH))
        if not found:
            return False
        batch = [Announcement(number, DECODER.decode(body)) for number, body in found]
        failures = 0
        while (seconds := await self._tried(batch, failures)) is not None:
            failures += 1
            await asyncio.sleep(seconds)
        last = batch[-1].number
        await self._ledger.run(lambda journal: journal.posted(last))
        return True

    async def _tried(self, batch: Sequence[Announcement], failures: int) -> float | None:
        """Announce and return None, or the seconds until the next try."""
        try:
            await self._announce(batch)
        except DrayError as error:
            seconds = pause(error, failures + 1, random.random())  # noqa: S311
            if str(error) != self._trouble:
                self._waiting(f"cannot announce: {error}; next try in {seconds:.0f} s")
            self._trouble = str(error)
            return seconds
        self._trouble = ""
        return None
