"""Where to and how: what a place behind ssh is configured by."""

from typing import Literal

from dray.model.values import Limits, Value

Verify = Literal["auto", "remote", "read", "size"]
"""How arrived bytes are proved: by a command there where that is possible and else read back, one of these two only,
or not at all: then ``size`` is all that is compared."""


class SftpSettings(Value, frozen=True):
    """A directory of an account that ssh reaches.

    ``host`` is what ssh takes, so it may be a Host of its configuration (``config_file``: another one than the user's).
    ``path`` is relative to the login directory, or absolute; its surrogates stand for bytes that are no UTF-8.
    ``durable`` says whether anything is flushed to the disks there. ``keep_older`` keeps content that is published
    over; without it ``version`` means ``replace``. New files and folders get ``file_mode`` and ``folder_mode``, where
    given, else what the umask there leaves; ``keep_mode`` gives files the permissions of their source. ``stall`` is how
    many seconds an answer may take.
    ``single`` is for reading: the path has to be there, and where it leads to a file, the place has this file alone.
    """

    host: str
    user: str = ""
    port: int = 0
    path: str = ""
    config_file: str | None = None
    verify: Verify = "auto"
    durable: bool = True
    keep_older: bool = True
    keep_mode: bool = False
    file_mode: int | None = None
    folder_mode: int | None = None
    stall: float = 300.0
    single: bool = False
    limits: Limits = Limits()

    @property
    def name(self) -> str:
        """Return what people call it."""
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.host}{f':{self.port}' if self.port else ''}"
