"""How ssh is called for one session. Its shell goes through the first SFTP connection, so that one login is enough."""

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence

from dray.transports.sftp import ssh
from dray.transports.sftp.settings import SftpSettings
from dray.transports.sftp.ssh import Child

LONGEST_SOCKET = 80
"""Bytes of the path of a socket, to which ssh adds some; the system takes about a hundred."""


class Calls:
    """Starts children. ``words`` are ssh and its options; ``share`` says whether a connection may be shared.

    The user's own master connection, where there is one, is used for everything instead.
    """

    def __init__(self, words: Sequence[str], host: str, *, share: bool) -> None:
        self._words, self._host, self._share = words, host, share
        self._folder = _folder() if share and os.name == "posix" else None
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._master: Child | None = None
        self._children: list[Child] = []
        self._socket = "none"

    def abort(self) -> None:
        """Kill whatever runs, also what is still being connected. May be called in any thread."""
        with self._lock:
            for child in self._children:
                child.kill()

    def close(self) -> None:
        """End everything, and forget the socket."""
        self.abort()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def sftp(self) -> Child:
        """Start a connection of its own; the first one lets the shell through."""
        with self._lock:
            if self._folder is None or self._is_open():
                return self._child("no", "none", "-s", "--", self._host, "sftp")
            self._socket = os.path.join(self._folder, str(next(self._numbers)))
            self._master = self._child("yes", self._socket, "-s", "--", self._host, "sftp")
            return self._master

    def shell(self, command: str) -> Child:
        """Start a command there."""
        with self._lock:
            return self._child("no", self._socket if self._is_open() else "none", "--", self._host, command)

    def _is_open(self) -> bool:
        return self._master is not None and self._master.process.poll() is None

    def _child(self, master: str, socket: str, *what: str) -> Child:
        options = [f"ControlMaster={master}"]
        options += [f"ControlPath={socket}", "ControlPersist=no"] if self._share else []
        child = Child([*self._words, *(word for one in options for word in ("-o", one)), *what], self._host)
        self._children = [*(one for one in self._children if one.process.poll() is None), child]
        return child


def calls_of(settings: SftpSettings) -> Calls:
    """Ask ssh what its configuration says of the host, and return how it is to be called. Blocks."""
    config = ssh.effective(settings)
    words = ssh.arguments(settings, config, ssh.defaults())
    return Calls(words, settings.host, share=config.get("controlpath", "none") == "none")


def _folder() -> str | None:
    """Make a place for a socket, where nobody else can get at it; None where its path would be too long."""
    try:
        folder = tempfile.mkdtemp(prefix="dray-")
    except OSError:
        # The connection needs a temporary file as well, and then says why there is none.
        return None
    if len(os.fsencode(folder)) > LONGEST_SOCKET:
        os.rmdir(folder)
        return None
    return folder
