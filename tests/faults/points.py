"""The points of the commit protocol, read from a trace of one clean run: which call of which thread on which file."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ON_FILE = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "ftruncate", "fallocate")
"""Calls on one open file: counted for each file, since a thread also writes to pipes and sockets."""
ON_NAMES = ("syncfs", "link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat")
ON_NAMES_TOO = ("copy_file_range", "sendfile", "symlinkat", "rmdir")
CALLS = (*ON_FILE, *ON_NAMES, *ON_NAMES_TOO)
READS = ("read", "pread64", "preadv", "preadv2")
CLOSE = ("close",)
LINE = re.compile(r"^(?:(?P<thread>\d+) +)?(?P<call>\w+)\((?P<arguments>.*)$")
ON_FD = re.compile(r"^\d+<(?P<path>[^>]*)>")
NAMED = re.compile(r'(?:<(?P<folder>[^>]*)>, )?"(?P<name>[^"]*)"')

RANDOM = re.compile(r"\.[0-9a-f]{8}$")
"""Files with such names are found by counting the calls on all files."""
ANY = "any file"
OTHER_EVERY_TIME = (
    (re.compile(r"\.[0-9a-f]{8}(?= |$)"), ".*"),
    (re.compile(r"[0-9a-f]{32}\.staged"), "*.staged"),
    (re.compile(r"(?<=/)[0-9a-f]+(?:-[0-9a-f]+){2}(?= |$)"), "*"),
)
"""Names of temporary files, of staged ones, and tags of older contents."""


class Point(NamedTuple):
    """The ``n``-th ``call`` of a thread, on one file when ``path`` (below the data directory) says which.

    ``about`` tells people what is called there.
    """

    thread: str
    call: str
    path: str | None
    n: int
    about: str

    def __str__(self) -> str:
        return f"{self.thread} {self.call} #{self.n} {self.about}"

    def is_in(self, line: str) -> bool:
        """Say whether a line of a trace is the call that is meant, as far as names tell."""
        last = re.split(r"/| -> ", self.about)[-1]
        return f"{self.call}(" in line and all(piece in line for piece in last.split("*"))

    def options(self, data: Path, effect: str, when: str = "") -> list[str]:
        """Return strace's options that do something (``signal=KILL``, ``error=EIO``) at this point, or ``when``."""
        only = ["-P", str(data / self.path)] if self.path is not None else []
        return [*only, "-e", f"trace={self.call}", "-e", f"inject={self.call}:{effect}:when={when or self.n}"]


def points(
    trace: str,
    data: Path,
    threads: dict[int, str] | None,
    calls: Iterable[str] = CALLS,
    random: re.Pattern[str] = RANDOM,
) -> list[Point]:
    """Return the points of a trace (``strace -f -y``) below a data directory, in order.

    Without names of threads a point is the first time that any thread makes its n-th such call. ``random`` are names
    that are others in every run.
    """
    wanted = frozenset(calls)
    seen: Counter[tuple[str, str, str | None]] = Counter()
    most: Counter[tuple[str, str | None]] = Counter()
    found = []
    for thread, call, arguments in called(trace, threads):
        if call not in wanted:
            continue
        on = ON_FD.match(arguments)
        single = call in (*ON_FILE, *READS, *CLOSE)
        file = below(on["path"], data) if single and on else None
        seen.update([(thread, call, file), (thread, call, ANY)] if single else [(thread, call, None)])
        path = None if file is None or random.search(file) else file
        kind = path if path or not single else ANY
        n = seen[thread, call, kind]
        is_first = n > most[call, kind]
        most[call, kind] = max(n, most[call, kind])
        if (file is not None or (not single and str(data) in arguments)) and (threads is not None or is_first):
            found.append(Point(thread, call, path, n, anonymous(file) if file else about(arguments, data)))
    return found


def called(trace: str, threads: dict[int, str] | None) -> Iterator[tuple[str, str, str]]:
    """Yield thread, call and arguments of every call."""
    for line in trace.splitlines():
        match = LINE.match(line)
        if match and match["thread"]:
            name = match["thread"] if threads is None else threads.get(int(match["thread"]), "other")
            yield name, match["call"], match["arguments"]


def below(path: str, data: Path) -> str | None:
    """Return a path as it is below the data directory, None when it is elsewhere."""
    return path.removeprefix(f"{data}/") if path.startswith(f"{data}/") else None


def about(arguments: str, data: Path) -> str:
    """Return the names that a call is about."""
    names = [f"{m['folder'] or ''}/{m['name']}".replace(f"{data}/", "") for m in NAMED.finditer(arguments)]
    shown = " -> ".join(names) or (ON_FD.match(arguments) or {"path": ""})["path"].replace(str(data), ".")
    return anonymous(shown)


def anonymous(text: str) -> str:
    """Return names without what is another in every run."""
    for changing, kept in OTHER_EVERY_TIME:
        text = changing.sub(kept, text)
    return text


def thinned(found: list[Point], log: str) -> list[Point]:
    """Leave out, of the writes to a write-ahead log between two syncs, all but the first and the last.

    What lies between them is the same to a reader of the log: a transaction without its end.
    """
    kept: list[Point] = []
    run: list[Point] = []
    for point in found:
        if point.path == log and point.call not in ("fsync", "fdatasync"):
            run.append(point)
            continue
        if point.path == log:
            kept += run[:1] + run[1:][-1:]
            run = []
        kept.append(point)
    return kept + run[:1] + run[1:][-1:]


def killed_in(point: Point, code: int, log: Path) -> str | None:
    """Return the proof that the process was killed in the call that was meant."""
    calls = [line for line in log.read_text().splitlines() if f"{point.call}(" in line][-1:]
    return f"exit {code} in {calls[0][:160]}" if code == -9 and calls and point.is_in(calls[0]) else None
