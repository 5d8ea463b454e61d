"""A real OpenSSH server on a loopback port, with keys of its own, and a client configuration that trusts it."""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dray.transports.sftp.settings import SftpSettings
from tests.servers.process import LOOPBACK, Process, answers, find_command, free_port

HOST = "cluster"
"""The Host of the client's configuration; no name server knows it."""

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SERVER = """
Port {port}
ListenAddress {loopback}
HostKey {base}/host
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile {base}/id.pub
MaxStartups 100
MaxSessions 100
SetEnv HOME={base}/home
Subsystem sftp {sftp}
"""
CLIENT = """
Host {host}
  HostName {loopback}
  Port {port}
  IdentityFile {base}/id
  IdentitiesOnly yes
  UserKnownHostsFile {base}/known_hosts
  GlobalKnownHostsFile none
  ControlPath {base}/master
"""


class Sshd:
    """One server; ``home`` is where relative paths of it lead for ``only_sftp`` accounts, who have no shell."""

    def __init__(
        self,
        base: Path,
        *,
        only_sftp: bool = False,
        more: str = "",
        prefix: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base, self.port, self.home = base, free_port(), base / "home"
        self.home.mkdir(exist_ok=True)
        self.config = base / "ssh_config"
        make_key(base / "id")
        make_key(base / "host")
        forced = f"ForceCommand internal-sftp -d {self.home}\n" if only_sftp else ""
        if inside:
            forced = f'ForceCommand exec {shlex.join(inside)} sh -c "$SSH_ORIGINAL_COMMAND"\n'
        sftp = SFTP_SERVER if inside else "internal-sftp"
        values = {"port": self.port, "base": base, "loopback": LOOPBACK, "host": HOST, "sftp": sftp}
        (base / "sshd_config").write_text(SERVER.format(**values) + forced + more)
        self.config.write_text(CLIENT.format(**values))
        self.trust()
        # sshd insists on being called by its full path.
        command = [find_command("sshd", "openssh-server"), "-D", "-e", "-f", str(base / "sshd_config")]
        self.process = Process([*prefix, *command], base / "sshd.log")

    def settings(self, path: str | Path = "", **more: object) -> SftpSettings:
        """Return how Dray is to reach it."""
        return SftpSettings(HOST, path=str(path), config_file=str(self.config), **more)  # type: ignore[arg-type]

    @contextmanager
    def master(self) -> Iterator[None]:
        """Hold one connection open that all others go through, so that they cost next to nothing."""
        ssh = [find_command("ssh", "openssh-client"), "-F", str(self.config)]
        held = Process([*ssh, "-M", "-N", HOST], self.base / "master.log")
        try:
            held.start()
            held.wait_ready(
                lambda: subprocess.run([*ssh, "-O", "check", HOST], capture_output=True).returncode == 0, 20
            )
            yield
        finally:
            held.stop()

    def trust(self) -> None:
        """Let the client know the key that the server has now."""
        key = " ".join((self.base / "host.pub").read_text().split()[:2])
        (self.base / "known_hosts").write_text(f"[{LOOPBACK}]:{self.port} {key}\n")

    def fingerprint(self) -> str:
        """Return that of its key."""
        done = subprocess.run(["ssh-keygen", "-lf", self.base / "host.pub"], capture_output=True, text=True, check=True)
        return done.stdout.split()[1]

    def change_key(self) -> None:
        """Begin anew with another host key, which the client does not know."""
        self.stop()
        make_key(self.base / "host", again=True)
        self.start()

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.process.start()
        self.process.wait_ready(lambda: answers(self.port), 20)

    def freeze(self, *, thaw: bool = False) -> None:
        """Let what serves open connections stand still, or go on."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT if thaw else signal.SIGSTOP)

    def sessions(self) -> list[int]:
        """Return the processes that serve open connections."""
        return descendants(self.process.pid) if self.process.running else []

    def cut(self) -> None:
        """End all open connections, as a network does that goes away."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop it and what it serves."""
        self.cut()
        self.process.stop()


def make_key(path: Path, *, again: bool = False, kind: str = "ed25519") -> None:
    if again:
        path.unlink()
    if not path.exists():
        command = [find_command("ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child, ())
    return found


@contextmanager
def sshd(
    base: Path, *, only_sftp: bool = False, more: str = "", prefix: Sequence[str] = (), inside: Sequence[str] = ()
) -> Iterator[Sshd]:
    """Lend a running server, started by ``prefix``; what it runs for its users is started by ``inside``."""
    if os.geteuid() == 0:
        # Where it gives up its rights; the package makes it when the service starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = Sshd(base, only_sftp=only_sftp, more=more, prefix=prefix, inside=inside)
    try:
        server.start()
        yield server
    finally:
        server.stop()
