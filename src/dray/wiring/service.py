"""The unit of systemd for the agent: what it says, where it belongs, and the commands that use it. Blocks."""

import getpass
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dray.errors import DrayError, Forbidden, NotFound, Temporary

NAME = "dray-agent.service"

SECRET = ("DRAY_TOKEN", "DRAY_AGENT", "DRAY_CONFIG")
"""Names that a unit never holds; the settings file is named by ``--config``."""

USER = """\
[Install]
WantedBy=default.target
"""
SYSTEM = """\
[Install]
WantedBy=multi-user.target
"""

UNIT = """\
# Made by `dray service install`; each line is explained in docs/howto/service.md.
[Unit]
Description=Dray sends what appears in hot directories
{after}StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=2
WatchdogSec=120
TimeoutStopSec=90
KillMode=mixed
OOMPolicy=continue
LimitNOFILE=65536
{environment}{hardening}
{install}"""

AFTER = """\
Wants=network-online.target
After=network-online.target
"""

HARDER = """\
CapabilityBoundingSet=
ProtectSystem=full
ProtectControlGroups=true
"""
"""What a unit of the system asks for besides.

Nothing that sets no_new_privs: ssh may need its set-uid helper (host-based authentication), a program for large files
may need one, too.
"""


@dataclass(frozen=True, slots=True)
class Service:
    """The unit of this user, or of the system for ``user``."""

    system: bool = False
    user: str = ""
    config: str | None = None

    @property
    def path(self) -> Path:
        """Return where the unit is."""
        if self.system:
            return Path("/etc/systemd/system") / NAME
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return Path(base) / "systemd" / "user" / NAME

    def text(self) -> str:
        """Return the unit."""
        return UNIT.format(
            after=AFTER if self.system else "",
            command=" ".join(map(_word, self._command())),
            environment=self._environment(),
            hardening=f"User={self.user or getpass.getuser()}\n{HARDER}" if self.system else "",
            install=SYSTEM if self.system else USER,
        )

    def _command(self) -> list[str]:
        named = self.config or os.environ.get("DRAY_CONFIG")
        config = ["--config", os.path.abspath(os.path.expanduser(named))] if named else []
        return [*program(), "start", "--foreground", *config]

    def _environment(self) -> str:
        """Return what decides here where settings and state are; no secret is among it."""
        kept = {
            name: value for name, value in os.environ.items() if name.startswith(("DRAY_", "XDG_CONFIG_", "XDG_STATE_"))
        }
        for name in SECRET:
            kept.pop(name, None)
        lines = (f"{name}={value}".replace("%", "%%") for name, value in sorted(kept.items()))
        return "".join(f"Environment={_quoted(line)}\n" for line in lines)

    def install(self) -> None:
        """Write the unit, and let it run now and from now on; nothing is written where no systemd answers."""
        self.control("daemon-reload")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self.text(), "utf-8")
        except PermissionError:
            raise Forbidden("the unit cannot be written", item=str(self.path), hint="use sudo, or --user") from None
        self.control("daemon-reload")
        self.control("enable", NAME)
        self.control("restart", NAME)

    def uninstall(self) -> None:
        """Stop the agent and remove the unit."""
        if not self.path.exists():
            raise NotFound("there is no such unit", item=str(self.path))
        with suppress(DrayError):
            self.control("disable", "--now", NAME)
        self.path.unlink()
        with suppress(DrayError):
            self.control("daemon-reload")

    def control(self, *words: str) -> str:
        """Run systemctl and return what it says; raises Temporary with that where it fails."""
        command = ["systemctl", *(() if self.system else ("--user",)), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise NotFound("there is no systemd here", hint="dray start, and dray sanity in your crontab") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            hint = "is there a session of systemd? dray start works without one"
            raise Temporary(f"{' '.join(command)}: {said[-1] if said else 'failed'}", hint=hint)
        return done.stdout.strip()


def installed() -> Service | None:
    """Return the unit that runs the agent of this user, None where there is none."""
    for service in (Service(), Service(system=True)):
        if service.path.exists() and (not service.system or f"User={getpass.getuser()}\n" in service.path.read_text()):
            return service
    return None


def lingers(user: str) -> bool | None:
    """Say whether the units of a user run while nobody is signed in; None where nothing tells."""
    if not shutil.which("loginctl"):
        return None
    return Path("/var/lib/systemd/linger", user).exists()


def program() -> list[str]:
    """Return how this very program is started, with full paths."""
    found = Path(sys.argv[0])
    if found.name in ("dray", "dray.exe") and found.exists():
        return [str(found.absolute())]
    return [sys.executable, "-m", "dray.cli.main"]


def _word(text: str) -> str:
    """Write a word of a command line as systemd.service(5) wants it."""
    return _quoted(text.replace("%", "%%").replace("$", "$$"))


def _quoted(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe}"' if safe != text or any(one in text for one in " '\t;") else text
