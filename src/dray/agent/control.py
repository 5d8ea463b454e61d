"""How commands and a running agent talk: small files in one directory, each replaced as a whole.

What people want is written there durably, whether an agent runs or not; an agent looks at it every second and writes
how it stands. That works on every platform and leaves nothing to clean up. Everything here blocks.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from dray.agent.ledger import alone
from dray.errors import Busy, Temporary
from dray.fs import DISK, At, failure
from dray.model.agent import AgentStatus, Record, Wanted

T = TypeVar("T")

RUNNING = "an agent is running already"
PATIENCE = 2.0
"""Seconds for which another process may hold what is needed for a moment."""


class Control:
    """The files of the agent of one user (or of the system)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "agent.log"
        self._lock, self._changing = folder / "agent", folder / "wanted"
        self._status, self._wanted, self._record = (folder / f"{n}.json" for n in ("status", "wanted", "agent"))

    def prepare(self) -> None:
        """Make the directory, for its owner alone."""
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise failure(error, str(self.folder)) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the agent for as long as this lasts; raises Busy where there is one."""
        self.prepare()
        with patiently(lambda: alone(self._lock, RUNNING)):
            yield

    def is_held(self) -> bool:
        """Say whether an agent lives; the kernel knows, whatever files say."""
        if not self._lock.with_suffix(".lock").exists():
            return False
        try:
            with alone(self._lock, RUNNING):
                return False
        except Busy:
            return True

    def status(self) -> AgentStatus | None:
        """Return what the last agent said of itself."""
        return self._read(self._status, AgentStatus)

    def tell(self, status: AgentStatus) -> None:
        """Replace the status; it need not survive a power cut."""
        self._write(self._status, msgspec.json.encode(status), durable=False)

    def record(self) -> Record | None:
        """Return which process the agent is, or was."""
        return self._read(self._record, Record)

    def sign(self, record: Record) -> None:
        """Write down which process the agent is."""
        self._write(self._record, msgspec.json.encode(record), durable=True)

    def wanted(self) -> Wanted:
        """Return what people asked for."""
        return self._read(self._wanted, Wanted) or Wanted()

    def stamp(self) -> int:
        """Return a number that changes whenever people ask for something else."""
        try:
            return self._wanted.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def change(self, work: Callable[[Wanted], Wanted]) -> Wanted:
        """Change what is wanted, one process after another, durably."""
        self.prepare()
        with patiently(lambda: alone(self._changing, "another command changes this")):
            wanted = work(self.wanted())
            self._write(self._wanted, msgspec.json.encode(wanted), durable=True)
        return wanted

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failure(error, str(path)) from error
        except msgspec.DecodeError as error:
            raise Temporary(
                f"not readable: {error}", item=str(path), hint="remove it; what it said can be asked for again"
            ) from None

    def _write(self, path: Path, content: bytes, *, durable: bool) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(2)}")
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            try:
                DISK.write(fd, content)
                if durable:
                    DISK.sync(fd)
            finally:
                os.close(fd)
            DISK.replace(At(str(part), None), At(str(path), None))
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise failure(error, str(path)) from error


@contextmanager
def patiently(take: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Enter what somebody else may hold for a moment."""
    end = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        while not _entered(stack, take, last=time.monotonic() >= end):
            time.sleep(0.1)
        yield


def _entered(stack: ExitStack, take: Callable[[], AbstractContextManager[None]], *, last: bool) -> bool:
    try:
        stack.enter_context(take())
    except Busy:
        if last:
            raise
        return False
    return True
