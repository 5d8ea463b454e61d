"""Large files are brought by another program; they are staged, verified and published as all others are."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from dray.errors import DrayError, Temporary
from dray.model.names import printable
from dray.model.values import Entry, Landing, Receipt, Ref, Staged, Value
from dray.transports.base import Failure, Piece, Session, Transport
from dray.transports.wrappers import Wrapper

LOG = logging.getLogger("dray.transports")
OPENED = Path("/proc/self/fd")


class Program(Value, frozen=True):
    """A program for files from ``above`` bytes on; {source} and {target} in its words stand for the two names."""

    above: int
    words: tuple[str, ...]

    def command(self, source: str, target: str) -> list[str]:
        """Return the words with the names in them; a name is never taken apart."""
        return [word.replace("{source}", source).replace("{target}", target) for word in self.words]


@runtime_checkable
class Locating(Protocol):
    """What some sessions can do besides: say how other programs name what is staged."""

    def where(self, ref: Ref) -> str:
        """Return the name of a staged file."""


class Accelerated(Wrapper):
    """Lets a program write large files into their staged names.

    A file of which parts are durable already goes on as it began. Where the program fails or brings other bytes, or the
    source has no name, bytes go the ordinary way. What it wrote is not believed: ``verify`` reads it like all else.
    """

    def __init__(self, inner: Session, program: Program, failed: set[Ref]) -> None:
        super().__init__(inner)
        self._program, self._failed = program, failed
        self._fresh: set[Ref] = set()
        self._running: dict[Ref, asyncio.Task[bool]] = {}

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """See ``Session``."""
        answers = await self.inner.stage(landings)
        self._fresh.update(one.ref for one in answers if not isinstance(one, DrayError) and self._suits(one))
        return answers

    def _suits(self, staged: Staged) -> bool:
        """Say whether a file is large, in every sense, and not begun: smaller ones are not sent from their own file."""
        large = staged.size >= self._program.above and staged.size > self.limits.piece
        begun = bool(staged.held) or staged.done or staged.hash_first
        return large and not begun and staged.ref not in self._failed

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Receipt the parts of files that the program has brought; what they hold shows when they are verified."""
        carried = [await self._carried(piece) for piece in pieces]
        rest = [piece for piece, done in zip(pieces, carried, strict=True) if not done]
        written = iter(await self.inner.write(rest) if rest else ())
        return [_receipt(piece) if done else next(written) for piece, done in zip(pieces, carried, strict=True)]

    async def _carried(self, piece: Piece) -> bool:
        if piece.ref not in self._fresh:
            return False
        if piece.ref not in self._running:
            self._running[piece.ref] = asyncio.create_task(self._carry(piece))
        return await asyncio.shield(self._running[piece.ref])

    async def _carry(self, piece: Piece) -> bool:
        """Run the program for the file of a piece; say whether it says that it did its work."""
        place = _locating(self.inner)
        try:
            source = os.readlink(OPENED / str(piece.at.file))
        except OSError:
            return False
        if place is None:
            return False
        command = self._program.command(source, place.where(piece.ref))
        try:
            await _run(command)
        except (OSError, DrayError) as error:
            LOG.warning("%s did not bring %s, so it is sent: %s", command[0], printable(source), error)
            return False
        return True

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """See ``Session``."""
        for ref in staged:
            self._fresh.discard(ref)
            self._running.pop(ref, None)
        return await self.inner.publish(staged)

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """See ``Session``; what the program brought wrongly goes the ordinary way next time."""
        for ref in refs:
            self._running.pop(ref, None)
        self._failed.update(ref for ref in refs if ref in self._fresh)
        self._fresh.difference_update(refs)
        return await self.inner.remove(refs)

    async def close(self) -> None:
        """End what still runs."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)


class Accelerating:
    """A place whose sessions use a program for large files."""

    def __init__(self, inner: Transport, program: Program) -> None:
        self._inner, self._program = inner, program
        self._failed: set[Ref] = set()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        """Open a session."""
        async with self._inner.connect() as session:
            accelerated = Accelerated(session, self._program, self._failed)
            try:
                yield accelerated
            finally:
                await accelerated.close()


async def _run(command: Sequence[str]) -> None:
    nothing = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *command, stdin=nothing, stdout=nothing, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Temporary(f"it ended with {child.returncode}{': ' if last else ''}{printable(''.join(last))}")


def _receipt(piece: Piece) -> Receipt:
    return Receipt(piece.ref, piece.number, piece.at.length, piece.crc32c or 0, "service")


def _locating(session: object) -> Locating | None:
    while not isinstance(session, Locating):
        session = getattr(session, "inner", None)
        if session is None:
            return None
    return session
