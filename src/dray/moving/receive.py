"""Takes bytes that somebody else reads from a connection, into the staged files of a place, with no copy in between.

The sinks are synchronous: all of their methods run in the thread that reads the connection.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ParamSpec, Protocol, TypeVar

from dray import fs
from dray.errors import Disconnected, DrayError, LimitReached, Refused
from dray.model.parts import Part
from dray.model.values import Receipt, Ref, Value

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_MANIFEST = 1 << 20
_LENGTH = 4


class Lent(Protocol):
    """One part of a staged file, open for its bytes."""

    @property
    def is_held(self) -> bool:
        """Say whether the part is durable already; then its bytes are not written again."""

    def take(self, view: memoryview) -> None:
        """Write the next bytes; Refused beyond the end."""

    def receipt(self, expected: int | None) -> Receipt:
        """Check what came and make it durable: PieceDamaged, Disconnected (too short), Conflict (held, but other)."""

    def close(self, *, keep: bool) -> None:
        """Give it back; without ``keep`` a file of one piece is removed."""


class Inbox(Protocol):
    """Who lends staged bytes: ``staging`` of a posix session."""

    def lend(self, ref: Ref, part: Part) -> Lent:
        """Lend one part to one writer: Busy when somebody has it, NotFound, Refused when there is no such part."""


class PartSink:
    """Receives one part: ``with PartSink(...) as sink``, feed ``sink.consume``, then ``sink.finish()``.

    ``receipt`` is set from the start when the part is durable already with the same crc32c (Conflict with another): it
    can be answered without reading the body, and a body that is read all the same is not written. Left without
    ``finish``, nothing is receipted.
    """

    def __init__(self, inbox: Inbox, ref: Ref, part: Part, crc32c: int) -> None:
        self.receipt: Receipt | None = None
        self._expected = crc32c
        self._lent = translated(inbox.lend, ref, part)
        if self._lent.is_held:
            try:
                self.finish()
            except DrayError:
                self._lent.close(keep=True)
                raise

    def __enter__(self) -> "PartSink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lent.close(keep=self.receipt is not None)

    def consume(self, view: memoryview) -> None:
        """Write the next bytes at their place; Refused when there are more than the part has."""
        translated(self._lent.take, view)

    def finish(self) -> Receipt:
        """Make the part durable and receipt it; PieceDamaged or Disconnected when it is not what was announced."""
        self.receipt = translated(self._lent.receipt, self._expected)
        return self.receipt


def translated(step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Take a step on disk, with failures of the operating system as ours."""
    try:
        return step(*args, **kwargs)
    except OSError as error:
        raise fs.failure(error) from error


Answer = Receipt | DrayError


class Arrival(Value, frozen=True):
    """One file of a bundle, in the order of their bodies; one with ``refused`` is skipped with that answer."""

    size: int
    crc32c: int
    ref: Ref = Ref("")
    refused: DrayError | None = None


class BundleSink:
    """Receives many whole small files in one stream: ``with BundleSink(...) as sink``, ``consume``, ``finish``.

    The stream is that of docs/api.md: 4 bytes big-endian length of the manifest, the manifest, the bodies. When the
    manifest is there, ``arrivals`` is asked what it announces. A file that fails is an error in its place of the answer
    and its bytes are skipped; the others are not disturbed.
    """

    def __init__(self, inbox: Inbox, arrivals: Callable[[bytes], Sequence[Arrival]]) -> None:
        self._inbox = inbox
        self._ask = arrivals
        self._head = bytearray()
        self._arrivals: Sequence[Arrival] | None = None
        self._answers: list[Answer] = []
        self._open: _Body | None = None

    def __enter__(self) -> "BundleSink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.abandon(Disconnected("the stream ended in the middle of this file"))

    def consume(self, view: memoryview) -> None:
        """Take the next bytes of the stream; Refused when there are more than announced."""
        done = 0 if self._arrivals is not None else self._take_head(view)
        while done < len(view):
            body = self._body()
            done += body.take(view[done:])
            if body.left == 0:
                self._close(body)

    def finish(self) -> list[Answer]:
        """Return the receipt or failure of each file; those that did not come whole are Disconnected."""
        if self._arrivals is None:
            raise Disconnected("the stream ended before the manifest did")
        while len(self._answers) < len(self._arrivals) and self._arrivals[len(self._answers)].size == 0:
            self._close(self._body())
        missing = len(self._arrivals) - len(self._answers)
        return self._answers + [Disconnected("the stream ended before this file did") for _ in range(missing)]

    def _take_head(self, view: memoryview) -> int:
        """Gather the length and the manifest; returns how many bytes of ``view`` belong to them."""
        taken = self._gather(_LENGTH, view)
        if len(self._head) >= _LENGTH:
            length = int.from_bytes(self._head[:_LENGTH], "big")
            if length > LONGEST_MANIFEST:
                raise LimitReached(f"the manifest has {length} bytes, {LONGEST_MANIFEST} are allowed")
            taken += self._gather(_LENGTH + length, view[taken:])
            if len(self._head) == _LENGTH + length:
                self._arrivals = self._ask(bytes(self._head[_LENGTH:]))
        return taken

    def _gather(self, end: int, view: memoryview) -> int:
        """Fill the head up to ``end`` and return how many bytes that took."""
        count = min(max(0, end - len(self._head)), len(view))
        self._head += view[:count]
        return count

    def _body(self) -> "_Body":
        """Return the file that the next byte belongs to; empty ones on the way are done at once."""
        if self._open is None:
            index = len(self._answers)
            if self._arrivals is None or index >= len(self._arrivals):
                raise Refused("more bytes came than the manifest announces")
            self._open = _Body(self._inbox, self._arrivals[index])
        return self._open

    def _close(self, body: "_Body") -> None:
        self._answers.append(body.finish())
        self._open = None


class _Body:
    """One file of a bundle while its bytes come; what fails here is its answer."""

    def __init__(self, inbox: Inbox, arrival: Arrival) -> None:
        self.left = arrival.size
        self._crc = arrival.crc32c
        self._lent: Lent | None = None
        self._error = arrival.refused
        if self._error is None:
            self._lent = self._try(inbox.lend, arrival.ref, Part(1, 0, arrival.size))

    def _try(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return translated(step, *args, **kwargs)
        except DrayError as error:
            self.abandon(error)
            return None

    def take(self, view: memoryview) -> int:
        """Take what belongs to this file and return how much that was."""
        count = min(self.left, len(view))
        self.left -= count
        if self._lent is not None:
            self._try(self._lent.take, view[:count])
        return count

    def finish(self) -> Answer:
        """Check the file and return its receipt or failure."""
        receipt = None if self._lent is None else self._try(self._settle, self._lent)
        return receipt or self._error or Disconnected("the stream ended in the middle of this file")

    def _settle(self, lent: Lent) -> Receipt:
        receipt = lent.receipt(self._crc)
        lent.close(keep=True)
        return receipt

    def abandon(self, error: DrayError) -> None:
        """Give the file back and drop what was written; the rest of its bytes is skipped."""
        self._error = error
        if self._lent is not None:
            self._lent.close(keep=False)
            self._lent = None
