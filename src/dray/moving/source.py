"""Where a mover takes bytes from: the seam, and what crosses it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from dray.errors import DrayError
from dray.fs import FileRange
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import OnExists, Staged, Value
from dray.moving.spool import Spool
from dray.transports.base import Piece


class Item(Value, frozen=True):
    """One file to move.

    ``path`` is its name at the destination. ``origin`` is how the source finds it: a path below the root of
    LocalFiles, the ref of a published entry of RemoteFiles. ``version`` is the token of what the caller saw
    (SourceVersion.token, or the tag of the entry), ``source`` says where it comes from (Landing.source).
    ``checksum`` is what a catalogue says the file has; LocalFiles ignores it, RemoteFiles claims it.
    """

    path: RemotePath
    size: int
    version: str
    origin: str
    source: str = ""
    on_exists: OnExists = "version"
    mtime_ns: int | None = None
    checksum: Checksum | None = None


class Content(Value, frozen=True):
    """A whole small file in the spool: where it lies and what it has."""

    at: FileRange
    checksum: Checksum
    crc32c: int


class Opened(Protocol):
    """A large file held open while it moves."""

    async def checksum(self) -> Checksum:
        """Return what the mover claims the whole file is.

        Without ``pieces`` having run to their end this reads the whole file first. Raises SourceChanged when it is
        not the version the item names.
        """

    def pieces(self, staged: Staged) -> AsyncIterator[Piece]:
        """Yield the parts that are not held, in order, each ready to be written.

        Held parts are read too, where that is what the claim needs. Raises IntegrityFailure when one of them is not
        what the source has, SourceChanged when the file is not (or no longer) the version the item names.
        """


class Source(Protocol):
    """A place that items come from; one batch's calls are made in order, several batches may run at once."""

    async def gather(self, items: Sequence[Item], spool: Spool) -> Sequence[Content | DrayError]:
        """Copy whole small files into the spool, one after another; a failed one is an error in its place."""

    def opened(self, item: Item) -> AbstractAsyncContextManager[Opened]:
        """Open one large file."""
