"""The cases over ssh: a large file and small ones for an account of a real sshd on loopback, and the usual programs."""

import contextlib
import getpass
import shlex
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import servers
from bench.cases import Case, Peers, empty, make_file, make_tree, peer, settled
from bench.measure import Candidate, Run, run
from tests.servers.sshd import HOST, Sshd, sshd

FAST = "aes128-gcm@openssh.com"

PLAIN = {"DRAY_SSH_DURABLE": "false", "DRAY_SSH_VERIFY": "size"}
"""What the other programs do: nothing is flushed, nothing is read again."""

VARIANTS = (
    ("dray upload", {}),
    ("dray upload, nothing flushed", {"DRAY_SSH_DURABLE": "false"}),
    ("dray upload, read back through SFTP", {"DRAY_SSH_VERIFY": "read"}),
    ("dray upload, neither flushed nor verified", PLAIN),
)


class Account:
    """An account with a shell, and a directory of it that every run finds empty."""

    def __init__(self, stack: contextlib.ExitStack, work: Path) -> None:
        base = Path(stack.enter_context(TemporaryDirectory(prefix="sshd-")))
        self.sshd: Sshd = stack.enter_context(sshd(base))
        self.root = work / "account"
        self.root.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.server = servers.Server("", self.sshd.process.pid, self.root)
        self.ssh = ["ssh", "-F", str(self.sshd.config), "-c", FAST]

    def dray(self, source: str, env: dict[str, str], *options: str) -> Run:
        """Upload into the empty directory."""
        empty(self.root)
        settled()
        home = self.work / "home"
        home.mkdir(exist_ok=True)
        names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
        env = {"DRAY_SSH_CONFIG_FILE": str(self.sshd.config), **{name: str(home) for name in names}, **env}
        command = [*servers.DRAY, "upload", "-q", *options, source, f"sftp://{HOST}/{self.root}"]
        return run(command, servers=[self.server.pid], env=env)

    def single(self, source: str, amount: float) -> Candidate:
        """Return Dray over a single connection."""
        return Candidate("dray upload, one connection", amount, lambda: self.dray(source, {}, "--parallel", "1"))

    def variants(self, source: str, amount: float) -> list[Candidate]:
        """Return Dray as it is, and with flushing and verification separated."""

        def upload(env: dict[str, str]) -> Callable[[], Run]:
            return lambda: self.dray(source, env)

        return [Candidate(name, amount, upload(env)) for name, env in VARIANTS]

    def lftp(self, command: str) -> list[str]:
        """Return a command of lftp over the same ssh."""
        connect = f"set sftp:connect-program {shlex.quote(shlex.join([*self.ssh, '-a', '-x']))}"
        return ["lftp", "-c", f"{connect}; set net:max-retries 1; open sftp://{HOST}; {command}"]

    def rclone(self, program: str, verb: str, source: Path, target: str, *options: str) -> list[str]:
        """Return a command of rclone, which has an ssh of its own."""
        where = {
            "host": "127.0.0.1", "port": self.sshd.port, "user": getpass.getuser(),
            "key_file": self.sshd.base / "id", "known_hosts_file": self.sshd.base / "known_hosts",
        }  # fmt: skip
        remote = f":sftp,{','.join(f'{key}={value}' for key, value in where.items())}:{target}"
        return [program, "--config", "/dev/null", verb, "--ignore-times", *options, str(source), remote]


def large(size: int) -> Case:
    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        source = make_file(work / "source" / "large.bin", size)
        account = Account(stack, work)
        target = account.root / "large.bin"

        def other(name: str, command: list[str]) -> Candidate:
            return Candidate(name, size, peer(account.server, command, source, "bytes"))

        tar = (
            f"tar -C {source.parent} -cf - {source.name} | {shlex.join(account.ssh)} {HOST} tar -C {account.root} -xf -"
        )
        return [
            *account.variants(str(source), size),
            account.single(str(source), size),
            other("scp", ["scp", "-q", *account.ssh[1:], str(source), f"{HOST}:{target}"]),
            other("rsync -a", ["rsync", "-a", "-e", shlex.join(account.ssh), str(source), f"{HOST}:{target}"]),
            other("lftp put", account.lftp(f"put {source} -o {target}")),
            other("rclone copyto", account.rclone(peers.rclone, "copyto", source, str(target))),
            other("limit: tar | ssh tar", ["sh", "-c", tar]),
        ]

    return Case("sftp-large", f"{size / (1 << 30):g} GiB over ssh, one file", "MB", candidates)


def small(name: str, files: int, size: int) -> Case:
    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        source = make_tree(work / "source" / f"small-{files}-{size}", files, size)
        account = Account(stack, work)
        target = account.root / "t"

        def other(name: str, command: list[str]) -> Candidate:
            return Candidate(name, files, peer(account.server, command, source, "files"))

        tar = f"mkdir {target} && tar -C {source} -cf - . | {shlex.join(account.ssh)} {HOST} tar -C {target} -xf -"
        return [
            *account.variants(f"{source}/", files),
            account.single(f"{source}/", files),
            other("scp -r", ["scp", "-q", "-r", *account.ssh[1:], str(source), f"{HOST}:{target}"]),
            other("rsync -a", ["rsync", "-a", "-e", shlex.join(account.ssh), f"{source}/", f"{HOST}:{target}"]),
            other("lftp mirror -R -P 5", account.lftp(f"mirror -R -P 5 {source} {target}")),
            other(
                "rclone copy, 16 parallel",
                account.rclone(peers.rclone, "copy", source, str(target), "--transfers", "16"),
            ),
            other("limit: tar | ssh tar", ["sh", "-c", tar]),
        ]

    return Case(name, f"{files:,} files of {size // 1024} KiB over ssh", "files", candidates)


def all_cases(size: int, files: int) -> list[Case]:
    """Return the cases; the smallest files are ten times as many."""
    return [large(size), small("sftp-small", files, 10 * 1024), small("sftp-tiny", 10 * files, 1024)]
