"""The data directory of a server: what is where, and the secrets in it."""

import contextlib
import os
import secrets
from pathlib import Path

from dray.errors import Forbidden, UsageError
from dray.fs import DISK, At

KEY_BYTES = 32


class Home:
    """Names what is in a data directory."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.store = self.path / "store"
        self.inbox = self.path / "inbox"
        self.database = self.path / "database.sqlite"
        self.admin_token = self.path / "admin.token"
        self._key = self.path / "signing.key"

    def prepare(self) -> None:
        """Make the directory with what is missing in it, for its owner alone; blocks."""
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            for below in (self.store, self.inbox):
                below.mkdir(0o700, exist_ok=True)
        except PermissionError as error:
            raise Forbidden("the data directory cannot be made", item=str(error.filename)) from None
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError("the data directory is in the way of a file", item=str(error.filename)) from None

    def signing_key(self) -> bytes:
        """Return the key that all servers on this directory share, made by whoever comes first; blocks."""
        with contextlib.suppress(FileExistsError):
            write_new(self._key, secrets.token_bytes(KEY_BYTES))
        key = self._key.read_bytes()
        if len(key) != KEY_BYTES:
            raise UsageError("the signing key is damaged", item=str(self._key), hint="remove it and start again")
        return key

    def write_admin_token(self, secret: str) -> None:
        """Store the first administrator's token durably; one that a crash left behind unused is replaced."""
        with contextlib.suppress(FileNotFoundError):
            DISK.unlink(At(str(self.admin_token), None))
        write_new(self.admin_token, f"{secret}\n".encode())


def write_new(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole and durable under its name, or raise FileExistsError."""
    if path.exists():
        raise FileExistsError(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        DISK.write(fd, content)
        DISK.sync(fd)
    finally:
        os.close(fd)
    try:
        DISK.rename(At(str(part), None), At(str(path), None))
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the platform can open one."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            DISK.sync(fd)
        finally:
            os.close(fd)
