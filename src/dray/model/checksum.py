"""Checksums of whole files, written ``algorithm:hex``."""

import re

import msgspec

from dray.errors import UsageError

LENGTHS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32, "adler32": 8, "crc32c": 8}
_HEX = re.compile(r"[0-9a-f]+")


class Checksum(msgspec.Struct, frozen=True):
    """Digest of a whole file, written ``algorithm:hex``."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> "Checksum":
        """Read ``algorithm:hex`` (any letter case) or raise UsageError."""
        algorithm, colon, digest = text.strip().lower().partition(":")
        if not colon or LENGTHS.get(algorithm) != len(digest) or not _HEX.fullmatch(digest):
            raise UsageError(f"{text!r} is not a checksum", hint="write algorithm:hex, for example sha256:9f86d0...")
        return cls(algorithm, digest)
