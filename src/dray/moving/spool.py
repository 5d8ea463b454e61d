"""Anonymous memory (or an unnamed temporary file) that holds a batch of small files while it moves."""

import os
import tempfile
from types import TracebackType

from dray.fs import FileRange


class Spool:
    """A growing anonymous file; gone when it is closed or the process ends.

    Not mapped, so that what lies in it does not count as memory of this process. ``on_disk`` is for larger contents.
    """

    def __init__(self, *, on_disk: bool = False) -> None:
        make = None if on_disk else getattr(os, "memfd_create", None)
        self._temporary = None if make else tempfile.TemporaryFile(prefix="dray-", buffering=0)  # noqa: SIM115
        self.file: int = make("dray-spool") if make else self._temporary.fileno()  # type: ignore[union-attr]
        self.size = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; ranges of it are worth nothing from now on."""
        if self._temporary is not None:
            self._temporary.close()
        elif self.file >= 0:
            os.close(self.file)
        self.file = -1

    def reserve(self, length: int) -> FileRange:
        """Return the next ``length`` bytes of the spool, to be filled by whoever asked."""
        at = FileRange(self.file, self.size, length)
        self.size += length
        return at
