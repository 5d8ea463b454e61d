"""The only module that touches local files: every write, fsync, rename, sendfile, copy and safe open of the program."""

import msgspec


class FileRange(msgspec.Struct, frozen=True):
    """``length`` bytes at ``offset`` of an open file descriptor, which its owner keeps open while others use it."""

    file: int
    offset: int
    length: int
