"""What a journal gives and takes: values of one row, or of many counted together."""

import os
from typing import NamedTuple

from dray.model.settle import Notice


class Seen(NamedTuple):
    """A version of a file as a directory scan tells it; ``inode`` is 0 where the platform does not say."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Seen":
        """Take what a look says; an inode number is cut to what SQLite holds."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & 0x7FFFFFFFFFFFFFFF)


NOTHING = Seen(0, 0, 0, 0)
"""Stands for a version where none was looked at: a folder that is left out."""


class Row(NamedTuple):
    """What the journal knows about one name of a folder."""

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    state: str
    notice: Notice
    since: float

    @property
    def seen(self) -> Seen:
        """Return the version that was seen last."""
        return Seen(*self[1:5])


class Key(NamedTuple):
    """Names one row: a folder (empty: the top) and a name in it."""

    folder: str
    name: str

    @property
    def path(self) -> str:
        """Return the path below the top."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


class Sighting(NamedTuple):
    """What becomes of a row after a look; ``due`` says when it is looked at (settling) or sent (queued)."""

    key: Key
    seen: Seen
    state: str
    notice: Notice
    since: float
    due: float
    reason: str


class Queued(NamedTuple):
    """A row that waits to be sent."""

    key: Key
    seen: Seen
    attempt: int
    tried: float | None
    checksum: str | None = None


class Ended(NamedTuple):
    """How one sending ended: ``delivered`` with its checksum and tag, ``queued`` to be tried at ``due``, ``failed``."""

    key: Key
    state: str
    reason: str = ""
    due: float = 0.0
    attempt: int = 0
    tried: float | None = None
    checksum: str | None = None
    tag: str = ""


class Stated(NamedTuple):
    """One file with the reason for its state."""

    key: Key
    size: int
    mtime_ns: int
    reason: str


class Tally(NamedTuple):
    """How many files, and how many bytes, are in one state for one reason, with one of them as an example."""

    state: str
    reason: str
    files: int
    bytes: int
    example: Key


class Standing(NamedTuple):
    """How it stands, in numbers of files: ``retrying`` are queued for later, ``trouble`` failed or refused.

    What is on its way counts as queued where somebody knows of it.
    """

    queued: int = 0
    bytes: int = 0
    settling: int = 0
    retrying: int = 0
    trouble: int = 0
    to_announce: int = 0
    reason: str = ""
    next_try: float = 0.0
