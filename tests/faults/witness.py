"""Somebody who looks at a destination all the time: what is said to be there, and what has a final name.

Nobody may ever see half a file, and nothing may be called delivered that is not there. The journal and the log of an
agent are read from outside, with nothing of Dray.
"""

import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.faults.oracle import Said, Shown
from tests.faults.store import digest

PACE = 0.1
STARED = 15
"""Names that are looked at each time, the newest."""

DELIVERED = re.compile(r"delivered (.+), (\d+) bytes, sha256:([0-9a-f]{64})")
ROWS = "SELECT path, name, size, state, checksum, reason FROM file JOIN folder ON folder.id = file.folder"


class Journaled(NamedTuple):
    """One row of a journal, with its name as the bytes of the disk."""

    raw: bytes
    size: int
    state: str
    checksum: str | None
    reason: str

    @property
    def open(self) -> bool:
        return self.state in ("queued", "sending", "settling")

    @property
    def sha256(self) -> str | None:
        return self.checksum.removeprefix("sha256:") if self.checksum else None

    @property
    def left(self) -> bool:
        """Say whether it was deleted here, as was asked for, once it was safe there."""
        return self.state == "gone" and self.checksum is not None

    @property
    def shown(self) -> Shown:
        state = "verified" if self.state == "delivered" or self.left else self.state
        return Shown(self.raw.decode("latin-1"), 1, self.size, self.sha256, state, True)


def rows(state: Path) -> list[Journaled]:
    """Read the journals of an agent; nothing while they are being made."""
    return [row for file in sorted((state / "hot").glob("*.sqlite")) for row in _rows(file)]


def _rows(file: Path) -> Iterator[Journaled]:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as connection:
            for path, name, *rest in connection.execute(ROWS).fetchall():
                yield Journaled(bytes(path) + b"/" + bytes(name) if path else bytes(name), *rest)
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error) and "unable to open" not in str(error):
            raise


class Watched(Protocol):
    """What a witness has to know."""

    noted: dict[str, list[str]]
    seen_at: Path

    @property
    def state(self) -> Path: ...
    @property
    def base(self) -> Path: ...


class Witness:
    """Looks on in a thread of its own."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.said: list[Said] = []
        self.findings: list[str] = []
        self.looks = 0
        self._known: set[tuple[str, str | None]] = set()
        self._lines: Counter[tuple[str, str]] = Counter()
        self._read = 0
        self._ended = threading.Event()
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="witness")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        took = 0.0
        while not self._ended.wait(max(PACE, 4 * took)):
            began = time.monotonic()
            self.look()
            took = time.monotonic() - began

    def look(self) -> None:
        """Look once at everything."""
        with self._busy:
            self._stare()
            self._hear()
            self._consult()

    def _stare(self) -> None:
        """Read the newest names: whatever is there, somebody must have written it."""
        for path in list(self._watched.noted)[-STARED:]:
            found = self._digest(path)
            self.looks += 1
            if found is not None and found not in self._watched.noted[path]:
                self.findings.append(f"C: {path} held what was never written as a whole")

    def _hear(self) -> None:
        """Read what is new in the log."""
        log = self._watched.base / "agent.log"
        if not log.exists():
            return
        with log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._read += end
        for name, _, sha256 in DELIVERED.findall(data[:end].decode(errors="replace")):
            self._lines[name, sha256] += 1
            self._check("log", name, sha256)

    def _consult(self) -> None:
        """Read what the journal calls delivered."""
        for row in rows(self._watched.state):
            key = row.raw.decode("latin-1"), row.sha256
            if row.state == "delivered" and key not in self._known:
                self._known.add(key)
                self._check("journal", row.raw.decode("utf-8", "surrogateescape"), row.sha256 or "")

    def _check(self, surface: str, path: str, sha256: str) -> None:
        """Look at once whether it is true; a later version may have taken the place."""
        versions = self._watched.noted.get(path)
        if versions is None or (surface == "log" and sha256 not in versions):
            return  # the log shows some names in other letters, even those of other files: the journal has it, too
        found = self._digest(path)
        good = versions[versions.index(sha256) :] if sha256 in versions else []
        wrong = None if found in good else f"found {(found or 'nothing')[:12]}"
        key = path.encode("utf-8", "surrogateescape").decode("latin-1")
        self.said.append(Said(surface, key, sha256, 0.0, wrong))

    def _digest(self, path: str) -> str | None:
        try:
            return digest(self._watched.seen_at / path)[1]
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def doubles(self) -> list[str]:
        """Return what was delivered more often than it was written."""
        noted = self._watched.noted
        return [
            f"D: {name} was delivered {times} times in one version"
            for (name, sha256), times in self._lines.items()
            if times > noted.get(name, []).count(sha256) > 0
        ]
