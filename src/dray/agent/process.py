"""Which process is which: a number alone says nothing after a reboot, or when it was given to somebody else."""

import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from dray.model.agent import Record

MARK = "DRAY_AGENT"
"""Environment name by which the children of an agent are known: its directory and process number."""

SYSTEM = platform.system()
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def boot() -> str:
    """Return what is another one after each start of the machine; empty where the platform does not tell."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return _said(["sysctl", "-n", "kern.bootsessionuuid"]) if SYSTEM == "Darwin" else ""


def began(pid: int) -> str:
    """Return when a process began, in whatever form the platform tells it; empty when there is no such process."""
    if SYSTEM == "Linux":
        with suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return ""
    return _said(["ps", "-o", "lstart=", "-p", str(pid)]) if os.name == "posix" else ""


def is_alive(record: Record) -> bool:
    """Say whether the very process of a record lives."""
    return bool(record.began) and record.boot == boot() and began(record.pid) == record.began


def send(record: Record, number: int) -> bool:
    """Signal the very process of a record; say whether it was there."""
    if not is_alive(record):
        return False
    with suppress(ProcessLookupError):
        os.kill(record.pid, number)
        return True
    return False


def end(pid: int) -> None:
    """End a process by its number alone, at once: only for one that was just seen."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)


def mark(folder: Path) -> str:
    """Return how the children of this process are marked."""
    return f"{folder}:{os.getpid()}"


def strays(folder: Path, agent: int, children: Callable[[], Iterator[tuple[int, str]]] | None = None) -> list[int]:
    """Return processes that belong to an agent of this directory that is not (or no more) ``agent``."""
    found = (children or marked)()
    belongs = ((pid, owner.rpartition(":")[2]) for pid, owner in found if owner.rpartition(":")[0] == str(folder))
    return sorted(pid for pid, owner in belongs if owner != str(agent) and pid != os.getpid())


def marked() -> Iterator[tuple[int, str]]:
    """Yield the processes of this user that carry a mark; nothing where the platform does not tell."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            for entry in path.read_bytes().split(b"\0"):
                if entry.startswith(f"{MARK}=".encode()):
                    yield int(path.parent.name), os.fsdecode(entry.partition(b"=")[2])


def _said(command: list[str]) -> str:
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""
