"""A POSIX shell at the other end, where the account has one: digests are computed there, many files at a time.

One shell serves many questions. A question is a script on its standard input, names in single quotes (which nothing but
a single quote ends, and a name of ours begins with ``./``); its answer ends with a line that the question named.
"""

import re
import secrets
from collections.abc import Iterator, Sequence

from dray.errors import DrayError, Unreachable
from dray.transports.sftp.pipe import pipe_of
from dray.transports.sftp.ssh import Child

COMMAND = "exec /bin/sh"
HELLO = 20.0
"""Seconds until the shell has to answer for the first time; an account without one prints something, or nothing."""

MOST = 1 << 16
"""Bytes of names in one question: a command line takes at least so many everywhere."""

FEW = 8
"""Up to so many files are flushed one by one, more by one call for their file system."""

PROBE = b"./.dray-probe"
LARGE = 4 << 20
"""Bytes from which on OpenSSL, quicker than others but slow to begin, computes the digests."""

_NOWHERE = b"dray: no such folder"
_ABSENT = "No such file or directory"
_TOOLS = {
    "sha256sum": b"command -v sha256sum",
    "shasum": b"command -v shasum",
    "openssl": b"openssl dgst -sha256 -r /dev/null",
    # Others than Linux take the arguments, too, and do something else. /proc has nothing to flush.
    "sync": b'test "$(uname)" = Linux && sync -f /proc',
}
_COMMANDS = {"sha256sum": b"sha256sum --", "shasum": b"shasum -a 256 --", "openssl": b"openssl dgst -sha256 -r"}
_LINE = re.compile(rb"(\\?)([0-9a-f]{64})[ ]([ *])(.*)", re.DOTALL)
_PLAIN = re.compile(rb"[A-Za-z0-9._/-]+")
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


class NoShell(Exception):
    """The account has no shell that is of use."""


class Shell:
    """A shell that answered. Calls block, one thread at a time makes them; Unreachable when it is gone."""

    def __init__(self, child: Child, stall: float) -> None:
        self._child = child
        self._pipe = pipe_of(child.to, child.out, HELLO)
        self._rest = b""
        tests = b"".join(b"%s >/dev/null 2>&1 && echo %s\n" % (test, name.encode()) for name, test in _TOOLS.items())
        # Whatever is set for people who log in must not change what programs print.
        answer = self._ask(b"LC_ALL=C; export LC_ALL\n" + tests)
        self.tools = frozenset(line.decode("ascii", "replace") for line in answer.split(b"\n"))
        self._pipe.stall = stall

    @property
    def can_digest(self) -> bool:
        """Say whether digests can be computed there."""
        return not self.tools.isdisjoint(("sha256sum", "shasum"))

    @property
    def can_sync(self) -> bool:
        """Say whether files can be made durable by one call for all."""
        return "sync" in self.tools

    def close(self) -> None:
        """Hang up."""
        self._child.close()

    def kill(self) -> None:
        """Break off whatever runs, from any thread."""
        self._child.kill()

    def digests(self, folder: bytes, names: Sequence[bytes], size: int, *, sync: bool) -> dict[bytes, str]:
        """Return the sha256 (hex) of each file below ``folder`` that can be read, after making all durable.

        ``size`` is that of all together. Raises Unreachable where something could not be made durable.
        """
        found: dict[bytes, str] = {}
        if sync and len(names) > FEW:
            self._sync(folder, [b"-f", b"."])
        for some in _groups(names):
            if sync and len(names) <= FEW:
                self._sync(folder, [quoted(b"./" + name) for name in some])
            found.update(self._digests(folder, some, size))
        return found

    def sync(self, folder: bytes) -> None:
        """Make everything on the file system of a folder durable."""
        self._sync(folder, [b"-f", b"."])

    def why_not(self, folder: bytes) -> str:
        """Try to write into a folder and return what the system says, which SFTP does not."""
        script = b"head -c 65536 /dev/zero 2>&1 >%s || true; rm -f %s" % (PROBE, PROBE)
        return self._ask_in(folder, script).decode(errors="replace").strip()

    def _sync(self, folder: bytes, arguments: Sequence[bytes]) -> None:
        answer = self._ask_in(folder, b"sync %s 2>&1 && echo durable" % b" ".join(arguments))
        # A file that is not there is no failure: whoever asks finds that out by its digest.
        said = [line for line in answer.decode(errors="replace").splitlines() if not line.endswith(_ABSENT)]
        if said != ["durable"] and (said or not answer):
            raise Unreachable(
                f"what was sent could not be made durable there: {'; '.join(said) or 'sync says nothing'}"
            )

    def _digests(self, folder: bytes, names: Sequence[bytes], size: int) -> Iterator[tuple[bytes, str]]:
        tool = next(name for name in _COMMANDS if name in self.tools)
        # Tools differ in how they print other names.
        if size >= LARGE and "openssl" in self.tools and all(map(_PLAIN.fullmatch, names)):
            tool = "openssl"
        words = b" ".join(quoted(b"./" + name) for name in names)
        answer = self._ask_in(folder, b"%s %s 2>/dev/null" % (_COMMANDS[tool], words))
        for line in answer.split(b"\n"):
            match = _LINE.fullmatch(line)
            if match is not None:
                name = _unescaped(match[4]) if match[1] else match[4]
                yield name.removeprefix(b"./"), match[2].decode()

    def _ask_in(self, folder: bytes, script: bytes) -> bytes:
        """Run a script in a folder; NoShell where the shell does not see what SFTP sees."""
        answer = self._ask(_inside(folder, script))
        if answer.startswith(_NOWHERE):
            raise NoShell("the shell does not see the directory")
        return answer

    def _ask(self, script: bytes) -> bytes:
        """Run a script and return what it prints."""
        word = secrets.token_hex(16).encode()
        # In two pieces, so that a shell that shows what it reads does not answer with the question.
        end = b"printf '%%s%%s\\n' '%s' '%s'\n" % (word[:16], word[16:])
        try:
            self._pipe.send(b"{\n%s\n} </dev/null\n%s" % (script, end))
            return self._until(word + b"\n")
        except OSError:
            raise self._child.failure() from None

    def _until(self, end: bytes) -> bytes:
        said = self._rest
        while (at := said.find(end)) < 0:
            data = self._pipe.receive()
            if not data:
                raise self._child.failure()
            said += data
        self._rest = said[at + len(end) :]
        return said[:at]


def quoted(name: bytes) -> bytes:
    """Return a name as a word of a POSIX shell."""
    return b"'" + name.replace(b"'", b"'\\''") + b"'"


def _inside(folder: bytes, script: bytes) -> bytes:
    return b"(cd %s 2>/dev/null || { echo %s; exit; }; %s)" % (quoted(folder), _NOWHERE, script)


def _unescaped(name: bytes) -> bytes:
    """Undo what GNU's tools do to a name with a backslash or a line break in it."""
    return re.sub(rb"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)


def _groups(names: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Cut names into groups that fit on one command line."""
    group: list[bytes] = []
    size = 0
    for name in names:
        if group and size + len(name) > MOST:
            yield group
            group, size = [], 0
        group.append(name)
        size += len(name) + 8
    if group:
        yield group


def opened(child: Child, stall: float) -> Shell:
    """Return the shell that a child talks to; NoShell where the account has none that answers.

    Raises what ssh says where it did not even get there.
    """
    try:
        return Shell(child, stall)
    except DrayError:
        child.close()
        if child.broke():
            raise
        raise NoShell("the account has no shell") from None
