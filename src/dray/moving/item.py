"""What a mover is given and what it makes of a small file."""

from dray.fs import FileRange
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import OnExists, Value


class Item(Value, frozen=True):
    """One file to move.

    ``path`` is its name at the destination. ``origin`` is how the source finds it: a path below the root of
    LocalFiles, the ref of a published entry of RemoteFiles. ``version`` is the token of what the caller saw
    (SourceVersion.token, or the tag of the entry), ``source`` says where it comes from (Landing.source). ``checksum``
    is what a catalogue says the file has; LocalFiles ignores it, RemoteFiles claims it. ``mode`` has permission bits.
    """

    path: RemotePath
    size: int
    version: str
    origin: str
    source: str = ""
    on_exists: OnExists = "version"
    mtime_ns: int | None = None
    checksum: Checksum | None = None
    mode: int | None = None


class Content(Value, frozen=True):
    """A whole small file in the spool: where it lies and what it has."""

    at: FileRange
    checksum: Checksum
    crc32c: int
