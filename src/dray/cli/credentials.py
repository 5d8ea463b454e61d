"""The tokens that ``dray login`` stored, by server address, in a file that its owner alone can read."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from dray.clock import SystemClock
from dray.config import paths
from dray.config.secrets import refuse_readable
from dray.errors import Busy, UsageError
from dray.fs import DISK, At

STALE = 60.0
"""Seconds after which an unfinished write belongs to a process that was killed."""


class Credential(msgspec.Struct, frozen=True):
    """A stored token and whose it is."""

    token: str
    name: str = ""


Change = Callable[[dict[str, Credential]], dict[str, Credential]]


class Credentials:
    """The stored tokens. Changes are made one after another: the new file, made exclusively, is the lock."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or paths.user_config_dir() / "credentials.toml"

    def all(self) -> dict[str, Credential]:
        """Return every stored token by server address."""
        try:
            with self.path.open("rb") as file:
                refuse_readable(self.path, os.fstat(file.fileno()).st_mode)
                return msgspec.convert(tomllib.load(file), dict[str, Credential])
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise UsageError(
                f"not readable: {error}", item=str(self.path), hint="remove it and run dray login again"
            ) from None

    def get(self, server: str) -> Credential | None:
        """Return the token of a server."""
        return self.all().get(normal(server))

    def put(self, server: str, credential: Credential) -> None:
        """Store the token of a server."""
        self._change(lambda stored: {**stored, normal(server): credential})

    def remove(self, server: str) -> bool:
        """Forget the token of a server; say whether there was one."""
        before = self.get(server)
        if before:
            self._change(lambda stored: {key: one for key, one in stored.items() if key != normal(server)})
        return before is not None

    def _change(self, change: Change) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.new")
        file = _create(new)
        try:
            _write(file, lambda: _toml(change(self.all())))
            DISK.replace(At(str(new), None), At(str(self.path), None))
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _write(file: int, make: Callable[[], bytes]) -> None:
    try:
        DISK.write(file, make())
        DISK.sync(file)
    finally:
        os.close(file)


def _create(path: Path) -> int:
    with suppress(FileNotFoundError):
        if SystemClock().wall() - path.stat().st_mtime > STALE:
            path.unlink()
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileExistsError:
        hint = f"wait for it; if there is none, this passes by itself after {STALE:.0f} s"
        raise Busy("another dray login or logout is writing", item=str(path), hint=hint) from None


def _toml(stored: Mapping[str, Credential]) -> bytes:
    tables = [
        f"[{_quoted(server)}]\ntoken = {_quoted(one.token)}\nname = {_quoted(one.name)}\n"
        for server, one in sorted(stored.items())
    ]
    return "\n".join(["# Written by dray login. Tokens are secrets: keep this file to yourself.\n", *tables]).encode()


def _quoted(text: str) -> str:
    # A JSON text is a TOML basic string, but for DEL and pairs of surrogates.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def normal(server: str) -> str:
    """Return an address of a server in the one form under which it is stored and compared."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"
