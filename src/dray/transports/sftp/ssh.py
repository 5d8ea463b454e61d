"""OpenSSH's own client as a child: its arguments, its pipes, and what its last words mean."""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

from dray import fs
from dray.errors import DrayError, HostKeyRefused, NoSpace, Permanent, Unauthenticated, Unreachable, UsageError
from dray.model.names import printable
from dray.transports.sftp.settings import SftpSettings

FAST = "aes128-gcm@openssh.com"
"""The quickest cipher where the processor has AES, as nearly all have."""

ALIVE, LOSSES = 15, 3
"""Seconds between two signs of life, how many may stay unanswered, unless the user's configuration says otherwise."""

CONNECT = 30
"""Seconds for a connection to come about, likewise."""

_FIXED = (
    *("BatchMode=yes", "ClearAllForwardings=yes", "ForwardAgent=no", "PermitLocalCommand=no"),
    # Whatever the user's configuration says: nothing is sent to a host that nobody has vouched for.
    *("RequestTTY=no", "StrictHostKeyChecking=yes"),
)
PATIENCE = 60.0
"""Seconds for ssh to read its configuration, which may run programs."""

_OF_SSH = 255
Config = Mapping[str, str]
"""What ``ssh -G`` says of a host, by keyword in lower case."""


def effective(settings: SftpSettings) -> Config:
    """Ask ssh what its configuration means for the host. Blocks for some milliseconds; nothing is connected."""
    return _asked([*address(settings), "-G", "--", settings.host])


def defaults() -> Config:
    """Ask ssh what it does without any configuration."""
    return _asked(["-F", "none", "-G", "--", "localhost"])


def _asked(arguments: Sequence[str]) -> Config:
    command = ["ssh", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Unreachable("ssh takes too long to read its configuration", item=arguments[-1]) from None
    except OSError as error:
        raise _unable(error) from error
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        raise diagnosis(said, arguments[-1])
    lines = (line.partition(" ") for line in done.stdout.decode(errors="replace").splitlines())
    return {keyword.lower(): value for keyword, _, value in lines}


def _unable(error: OSError) -> DrayError:
    """Return why ssh could not even be started."""
    if not isinstance(error, FileNotFoundError):
        return fs.failure(error, "ssh")
    return Permanent("ssh is not installed here", hint="install OpenSSH's client (package openssh-client)")


def address(settings: SftpSettings) -> list[str]:
    """Return the options that say which account is meant, together with the host."""
    found = ["-F", settings.config_file] if settings.config_file else []
    found += ["-p", str(settings.port)] if settings.port else []
    return found + (["-l", settings.user] if settings.user else [])


def arguments(settings: SftpSettings, config: Config, plain: Config) -> list[str]:
    """Return how ssh is called, up to the host; ``plain`` is what it does without configuration."""
    options = [*_FIXED]
    ciphers = plain.get("ciphers", "").split(",")
    if config.get("ciphers") == plain.get("ciphers") and FAST in ciphers:
        options.append(f"Ciphers={','.join([FAST, *(one for one in ciphers if one != FAST)])}")
    if config.get("remotecommand", "none") != "none":
        options.append("RemoteCommand=none")
    if config.get("serveraliveinterval", "0") == "0":
        options += [f"ServerAliveInterval={ALIVE}", f"ServerAliveCountMax={LOSSES}"]
    if config.get("connecttimeout", "none") == "none":
        options.append(f"ConnectTimeout={CONNECT}")
    # -v: the fingerprint of the host's key is told nowhere else.
    return ["ssh", *address(settings), "-v", "-T", "-x", *(word for one in options for word in ("-o", one))]


class Child:
    """An ssh process with pipes at both ends; what it says is kept for its end."""

    def __init__(self, command: Sequence[str], host: str) -> None:
        self._host = host
        # A file takes all that is said without anybody reading it meanwhile.
        self._said = _temporary()
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
                # Ctrl-C is for us: what is on its way arrives before the connection ends.
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            raise _unable(error) from error
        if self.process.stdin is None or self.process.stdout is None:
            raise LookupError("a child without pipes")
        self.to, self.out = self.process.stdin.fileno(), self.process.stdout.fileno()

    def failure(self) -> DrayError:
        """Wait for the end of a child whose pipe has closed, and say why it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self._said.seek(0)
        code = self.process.returncode
        otherwise = "ssh was killed" if code is not None and code < 0 else "the server ended the connection"
        return diagnosis(self._said.read().decode(errors="replace"), self._host, otherwise)

    def broke(self) -> bool:
        """Say of a closed child whether ssh itself failed, rather than what it ran or we hung up."""
        return self.process.returncode == _OF_SSH

    def kill(self) -> None:
        """End it now; whoever reads from it finds the end. May be called in any thread."""
        self.process.kill()

    def close(self) -> None:
        """Hang up: ssh ends when its input does; one that does not is killed."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._said.close()


def _temporary() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="dray-")
    except OSError as error:
        raise NoSpace(f"no temporary file can be made: {error.strerror}", item=tempfile.gettempdir()) from error


# What ssh's last words mean

_FINGERPRINT = re.compile(r"Server host key: \S+ (SHA256:\S+)")
_NOISE = re.compile(
    r"^(debug\d: .*|OpenSSH_.*|\*\* .*|Warning: Permanently added .*|@+.*|Authenticated (to|using) .*|Transferred: .*"
    r"|Bytes per second: .*)$"
)
_WORDS: Sequence[tuple[str, type[DrayError], str]] = (
    (r"Could not resolve hostname", Unreachable, "check the name, or the Host in ~/.ssh/config"),
    (r"Permission denied|Too many authentication failures|No supported authentication", Unauthenticated,
     "the key must be known there (ssh-copy-id) and usable without a question (ssh-add)"),
    (r"subsystem request failed", Permanent, "the server offers no SFTP to this account"),
    (r"Bad configuration option|Bad owner or permissions|Can't open user config|configuration: |keyword .* extra",
     UsageError, "mend the configuration of ssh"),
    (r"Unable to negotiate|no matching", Permanent, "client and server have no algorithm in common"),
)  # fmt: skip


def diagnosis(said: str, host: str, otherwise: str = "ssh ended without a word") -> DrayError:
    """Return the error that ssh's words on stderr stand for; ``otherwise`` is said where there are none."""
    words = [line for line in said.replace("\r", "").splitlines() if line and not _NOISE.match(line)]
    last = printable("; ".join(words[-2:])) or otherwise
    if re.search(r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED", said):
        return _host_key(said, host)
    for pattern, cls, hint in _WORDS:
        if re.search(pattern, "\n".join(words)):
            return cls(last, item=host, hint=hint)
    return Unreachable(last, item=host)


def _host_key(said: str, host: str) -> DrayError:
    found = _FINGERPRINT.findall(said)
    key = f" {found[-1]}" if found else ""
    hint = f"compare the fingerprint with its administrator's, then: dray host trust {host}"
    if "IDENTIFICATION HAS CHANGED" in said:
        return HostKeyRefused(f"its host key{key} is another one than the one that is trusted", item=host, hint=hint)
    return HostKeyRefused(f"its host key{key} is not trusted yet", item=host, hint=hint)
