"""Tells a service manager how it stands, by the protocol of sd_notify(3)."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends to ``$NOTIFY_SOCKET``; without one every call does nothing. Never raises, never waits."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog(environ)
        self._ready = False

    @property
    def listened(self) -> bool:
        """Say whether a service manager started this process."""
        return bool(self._address)

    def alive(self, text: str, ready: bool) -> None:
        """Say that the loop runs, how it stands, and, once, that it is ready."""
        lines = [f"STATUS={text}"]
        if self.watchdog:
            lines.append("WATCHDOG=1")
        if ready and not self._ready:
            lines.append("READY=1")
        if not ready and not self._ready:
            lines.append("EXTEND_TIMEOUT_USEC=60000000")
        self._ready = self._ready or ready
        self._send(lines)

    def reloading(self, now: float) -> None:
        """Say that settings are read again; ``alive`` says when that is over."""
        self._ready = False
        self._send(["RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}"])

    def stopping(self, text: str) -> None:
        """Say that it is about to end."""
        self._send(["STOPPING=1", f"STATUS={text}"])

    def _send(self, lines: list[str]) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), address)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Return within how many seconds a sign of life is expected, None where nobody waits for one."""
    micros, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    return int(micros) / 1e6 if micros.isdigit() and pid in ("", str(os.getpid())) else None
