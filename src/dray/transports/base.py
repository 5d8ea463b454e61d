"""The seam that every place for bytes fills in: batches in, one result or failure per item out."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from dray.errors import DrayError
from dray.fs import FileRange
from dray.model.values import Change, Claim, Entry, Landing, Limits, Proof, Receipt, Ref, Staged, Value

Failure = DrayError
"""A failed item is an error value in its place of the answer; an exception means the whole call failed."""


class Piece(Value, frozen=True):
    """A range of a staged or stored file and the local range that holds (or takes) its bytes.

    ``offset`` is where the piece lies in the remote file; ``at`` is the local side. ``crc32c`` is what the bytes
    must have: for ``write`` the mover computed it, for ``read`` it is None where the sender does not tell.
    """

    ref: Ref
    number: int
    offset: int
    at: FileRange
    crc32c: int | None = None


class Session(Protocol):
    """An open connection to a place. Answers come in the order of the items.

    Every call may be repeated after a crash, in another process, with the same outcome: nothing is written twice
    under a final name, nothing durable is sent again. How items overlap (pipeline, threads, connections, one
    request) is the session's business. No call retries by itself: wrappers do.
    """

    @property
    def limits(self) -> Limits:
        """Return what this session can do."""

    def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield the published files below ``prefix``, in path order; nothing that is staged."""

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Begin or resume: say which parts are durably held, or that this version is already final."""

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Write pieces of staged files, each checked by its crc32c before its receipt.

        A receipt of a part of a larger file is durable. Files of one piece become durable at ``verify``.
        """

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Fill the local range of each piece from the published file named by its ref."""

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Make the staged (or already final) files durable, then read them again where they stay and say what is there.

        A proof is a fact, not a verdict: the caller compares.
        """

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Give verified files their final names, durably. Repeating it answers the same entry."""

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Remove what is staged or published under each ref; a thing that is not there is removed already."""


@runtime_checkable
class Names(Protocol):
    """What some sessions can do besides: change names without moving bytes."""

    async def change(self, changes: Sequence[Change]) -> Sequence[Failure | None]:
        """Make changes in order, each durable when it is answered; repeating them answers the same."""


def names_of(session: object) -> Names | None:
    """Return what changes names at a place, beneath all wrappers of its session; None where nothing does."""
    while not isinstance(session, Names):
        session = getattr(session, "inner", None)
        if session is None:
            return None
    return session


class Transport(Protocol):
    """Configuration of a place; ``connect`` makes a session of it."""

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open a session; closing it leaves staged files for the next one to resume."""
