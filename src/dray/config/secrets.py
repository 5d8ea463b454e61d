"""Secrets come from files that nobody else can read."""

import os
import stat
from pathlib import Path

from dray.errors import Denied, UsageError

LONGEST = 64 << 10


def read_secret(path: Path) -> str:
    """Return the one line of a secret file.

    Raises Denied when group or world may read it (POSIX); files below ``$CREDENTIALS_DIRECTORY`` are systemd's own
    and carry an access list that looks like a group's right.
    """
    with path.open("rb") as file:
        refuse_readable(path, os.fstat(file.fileno()).st_mode)
        content = file.read(LONGEST + 1)
    text = content.decode("utf-8", "replace").strip()
    if not text or len(content) > LONGEST or len(text.splitlines()) != 1:
        raise UsageError("a secret file holds exactly one line", item=str(path))
    return text


def refuse_readable(path: Path, mode: int) -> None:
    """Raise Denied when others than the owner may read an open secret file of this mode (POSIX)."""
    if os.name != "posix" or _from_systemd(path):
        return
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise Denied(
            f"others may read this secret (mode {stat.S_IMODE(mode):04o})", item=str(path), hint=f"chmod 600 {path}"
        )


def _from_systemd(path: Path) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.resolve().is_relative_to(Path(directory or "/").resolve())
