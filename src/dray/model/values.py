"""Frozen values that cross a floor. Sizes and offsets are bytes, times are seconds since 1970 UTC unless named."""

from typing import Literal, NewType

import msgspec

from dray.model.checksum import Checksum
from dray.model.names import RemotePath

Ref = NewType("Ref", str)
"""Names one item of a session's work; opaque to everybody but the session that gave it."""

OnExists = Literal["fail", "version", "replace"]
"""What to do when the final name holds other content: refuse, keep the old one as an older version, replace it."""

Level = Literal["durable", "flushed", "service"]
"""How sure the bytes are: file and directory fsynced; file fsynced; the service's word."""


class Value(msgspec.Struct, frozen=True):
    """Base of all frozen values."""


class SourceVersion(Value, frozen=True):
    """What makes an opened source file the same file: any change means other content may have been read."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def token(self) -> str:
        """Return a short text that differs whenever any part differs."""
        return f"{self.device:x}-{self.inode:x}-{self.size:x}-{self.mtime_ns:x}-{self.ctime_ns:x}"


class Limits(Value, frozen=True):
    """What one session can do; part sizes in bytes. ``piece`` is the size up to which a file is one piece."""

    piece: int = 32 << 20
    most_parts: int = 10_000
    largest_piece: int = 5 << 30
    in_flight: int = 4
    batch_files: int = 256
    no_replace: bool = True
    digests: tuple[str, ...] = ("sha256",)


class Landing(Value, frozen=True):
    """One file that wants to arrive.

    ``version`` is the source version token; ``checksum`` is given when it is known before sending (files of one
    piece), so that the destination can answer ``done`` without a byte moved. ``source`` names where the file comes
    from (machine and path, hashed), so that a rewritten source supersedes its own unfinished upload and nobody
    else's. ``mode`` has the permission bits of the source, for places that are to keep them.
    """

    path: RemotePath
    size: int
    version: str
    on_exists: OnExists = "version"
    checksum: Checksum | None = None
    source: str = ""
    mtime_ns: int | None = None
    mode: int | None = None


class Held(Value, frozen=True):
    """A range that the destination already holds durably: part ``number`` from 1."""

    number: int
    offset: int
    length: int
    crc32c: int


class Staged(Value, frozen=True):
    """The answer to a landing: where to write next.

    ``held`` are the durable parts; ``done`` says that this very version (or content) is already final, then only
    the claim has to be verified again. ``local`` is the path of the staged file where the place lends its bytes.
    ``hash_first`` asks for a landing with a checksum, because a file of the same size is already final.
    """

    ref: Ref
    path: RemotePath
    size: int
    part_size: int
    held: tuple[Held, ...] = ()
    done: bool = False
    local: str | None = None
    hash_first: bool = False


class Receipt(Value, frozen=True):
    """A piece was written (or read) and its bytes matched ``crc32c``."""

    ref: Ref
    number: int
    length: int
    crc32c: int
    level: Level


class Claim(Value, frozen=True):
    """What the mover says a whole file is, from reading its source once in order."""

    ref: Ref
    size: int
    checksum: Checksum


class Proof(Value, frozen=True):
    """What the place where the bytes stay recomputed. ``tag`` pins the stored thing (ETag, inode), ``by`` says who."""

    ref: Ref
    size: int
    checksum: Checksum
    tag: str
    by: str
    level: Level


class Entry(Value, frozen=True):
    """One file at a place, under its final name; ``ref`` names it in ``read``, ``verify`` and ``remove``."""

    path: RemotePath
    size: int
    mtime_ns: int
    checksum: Checksum | None = None
    tag: str = ""
    version: int = 1
    ref: Ref = Ref("")


class Change(Value, frozen=True):
    """Something that is done to a name at a destination, without bytes.

    ``remove`` and ``rmdir`` of what is not there are done already, as is ``mkdir`` of what is. ``rename`` gives
    ``path`` to what is called ``target``, ``symlink`` makes ``path`` point there; both replace files, never folders.
    """

    what: Literal["remove", "rmdir", "mkdir", "rename", "symlink"]
    path: RemotePath
    target: str = ""


class Arrived(Value, frozen=True):
    """One file that is verified at its destination and recorded: what may be announced of it.

    ``path`` is its name at the destination, ``origin`` its path below the hot directory. ``mode`` has the permission
    bits of the source, None where they are not known. ``what`` says what was done at the destination; ``target``
    is what a link points to, or the old name of what was ``renamed``. ``carried`` came with the announcement that told
    of the file, and travels on.
    """

    path: str
    origin: str
    size: int
    checksum: str = ""
    mtime_ns: int = 0
    mode: int | None = None
    what: Literal["stored", "removed", "renamed", "folder", "linked"] = "stored"
    target: str = ""
    carried: str = ""


OutcomeKind = Literal["moved", "already", "failed"]


class Outcome(Value, frozen=True):
    """How one file of a batch ended. ``error`` is set exactly when ``kind`` is ``failed``."""

    path: RemotePath
    kind: OutcomeKind
    size: int
    checksum: Checksum | None = None
    version: str = ""
    proof: Proof | None = None
    error: Exception | None = None
