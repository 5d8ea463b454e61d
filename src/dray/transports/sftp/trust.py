"""Which keys a host shows, which are trusted, and making them so: in the known_hosts file that ssh itself reads.

The keys are asked for by ssh, not by ssh-keyscan, so that Host, HostKeyAlias, ProxyJump and the like count. All blocks.
"""

import base64
import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dray import fs
from dray.errors import DrayError, Unreachable
from dray.model.values import Value
from dray.transports.sftp import ssh
from dray.transports.sftp.settings import SftpSettings

ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512,rsa-sha2-256")
"""One key of a host for each, as far as it has them; the strongest first."""

Standing = Literal["new", "trusted", "changed"]


class HostKey(Value, frozen=True):
    """A key that a host shows; ``name`` is what known_hosts calls the host."""

    name: str
    kind: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """Return what people compare."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def shown(settings: SftpSettings) -> list[HostKey]:
    """Ask a host for its keys, without logging in; raises what ssh says where it shows none."""
    found: list[HostKey] = []
    failures: list[DrayError] = []
    for algorithm in ALGORITHMS:
        with tempfile.TemporaryDirectory(prefix="dray-") as folder:
            file = Path(folder) / "known_hosts"
            said = _asked(settings, algorithm, file)
            keys = _keys(file.read_text()) if file.exists() else []
        found += keys
        if not keys:
            failures.append(ssh.diagnosis(said, settings.host))
        if isinstance(failures[0] if failures else None, Unreachable):
            break
    if not found:
        raise failures[0]
    return list(dict.fromkeys(found))


def _asked(settings: SftpSettings, algorithm: str, file: Path) -> str:
    """Let ssh note the key of a host in a file of its own, and return what else it says."""
    options = (
        *("BatchMode=yes", "StrictHostKeyChecking=accept-new", "CheckHostIP=no", "HashKnownHosts=no"),
        *("GlobalKnownHostsFile=none", "UpdateHostKeys=no", "ControlPath=none", "PreferredAuthentications=none"),
        *(f"UserKnownHostsFile={file}", f"HostKeyAlgorithms={algorithm}", f"ConnectTimeout={ssh.CONNECT}"),
    )
    command = ["ssh", *ssh.address(settings), "-v", "-T", *(word for one in options for word in ("-o", one))]
    done = subprocess.run(
        [*command, "--", settings.host, "exit"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.stderr.decode(errors="replace")


def _keys(text: str) -> list[HostKey]:
    fields = (line.split() for line in text.splitlines() if line and not line.startswith(("#", "@")))
    return [HostKey(*one[:3]) for one in fields if len(one) >= 3]


class Trust:
    """The known_hosts files of one host; the first of the user's is written to."""

    def __init__(self, config: ssh.Config) -> None:
        own = _files(config.get("userknownhostsfile", ""))
        self.file = own[0] if own else Path.home() / ".ssh" / "known_hosts"
        self._files = [self.file, *own[1:], *_files(config.get("globalknownhostsfile", ""))]

    def standings(self, keys: Sequence[HostKey]) -> list[Standing]:
        """Say of each key that a host shows whether it is trusted, or takes the place of one that is."""
        known = [one for name in {key.name for key in keys} for file in self._files for one in self._known(file, name)]
        trusted = [key in known for key in keys]
        kinds = {one.kind for one in known}
        # A host that shows none of its known keys is another one, whatever kinds of keys it shows.
        other = bool(known) and not any(trusted)
        return [
            "trusted" if good else "changed" if other or key.kind in kinds else "new"
            for key, good in zip(keys, trusted, strict=True)
        ]

    def _known(self, file: Path, name: str) -> list[HostKey]:
        """Return the keys of a name, which may be hashed in the file."""
        if not file.is_file():
            return []
        done = subprocess.run(
            ["ssh-keygen", "-F", name, "-f", str(file)], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return _keys(done.stdout.decode(errors="replace"))

    def pin(self, keys: Sequence[HostKey]) -> None:
        """Trust these keys from now on, durably; where one changed, all that were known of the host are forgotten."""
        standings = self.standings(keys)
        changed = "changed" in standings
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in {key.name for key in keys} if changed else ():
                self._forget(name)
            wanted = [key for key, one in zip(keys, standings, strict=True) if changed or one != "trusted"]
            self._append("".join(f"{key.name} {key.kind} {key.blob}\n" for key in wanted).encode())
        except OSError as error:
            raise fs.failure(error, str(self.file)) from error

    def _forget(self, name: str) -> None:
        """Leave out a name; ssh-keygen knows it when it is hashed, too, and keeps the old file as ``.old``."""
        if not self._known(self.file, name):
            return
        command = ["ssh-keygen", "-R", name, "-f", str(self.file)]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def _append(self, lines: bytes) -> None:
        fd = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(fd).st_size
            whole = size == 0 or fs.read_at(fd, 1, size - 1) == b"\n"
            fs.DISK.write(fd, lines if whole else b"\n" + lines)
            fs.DISK.sync(fd)
        finally:
            os.close(fd)


def _files(words: str) -> list[Path]:
    """Return the files of a keyword of ``ssh -G``, which writes them out in full."""
    found = []
    for word in words.split():
        with contextlib.suppress(RuntimeError):
            found.append(Path(word).expanduser())
    return [path for path in found if str(path) not in ("none", "/dev/null")]


def trust_of(settings: SftpSettings) -> Trust:
    """Return the files that ssh reads for a host."""
    return Trust(ssh.effective(settings))
