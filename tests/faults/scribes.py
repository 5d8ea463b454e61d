"""Ways in which programs put files into a hot directory, most of them slowly; each scribe writes one file.

What a scribe is going to leave is in the ledger before it begins; ``states`` adds contents that are whole for a moment.
"""

import hashlib
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import BinaryIO

from tests.faults.ledger import Ledger

SETTLE = 1.0
"""Seconds for which a file must rest in the directories of this row."""


@dataclass
class Scribe:
    """Writes the file ``name`` below ``tree``, which becomes ``dataset/name``."""

    ledger: Path
    tree: Path
    dataset: str
    name: str
    chance: Random
    begun: float = 0.0
    ended: float = 0.0
    pauses: list[float] = field(default_factory=list)
    steps: int = 0
    keys: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.tree / self.name

    @property
    def aside(self) -> Path:
        """A place on the same disk that nobody watches."""
        return self.tree.parent / f"{self.tree.name}.aside" / self.name

    def states(self, *contents: bytes, name: str = "") -> None:
        """Note contents that are coming, the last one stays."""
        key = f"{self.dataset}/{name or self.name}"
        if key not in self.keys:
            self.keys.append(key)
        with Ledger(self.ledger) as ledger:
            ledger.note_all((key, len(data), hashlib.sha256(data).hexdigest()) for data in contents)

    def data(self, most: int = 60_000) -> bytes:
        return self.chance.randbytes(self.chance.randrange(2_000, most))

    def pause(self, longest: float = 2.5 * SETTLE) -> None:
        """Wait some time, now and then for longer than files have to rest."""
        begun = time.monotonic()
        time.sleep(self.chance.uniform(0.05, longest))
        self.pauses.append(time.monotonic() - begun)

    def drip(self, file: BinaryIO, data: bytes, pieces: int = 4) -> None:
        """Write in pieces with pauses."""
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            self.steps += 1
            self.pause()

    def write(self, how: Callable[["Scribe"], None]) -> None:
        """Write the file as one of the ways below does."""
        self.begun = time.time()
        how(self)
        self.ended = time.time()

    def told(self) -> str:
        """Say what was done."""
        longest = max(self.pauses, default=0.0)
        return f"written for {self.ended - self.begun:.1f} s in {self.steps} steps, longest pause {longest:.1f} s"


# Where a file is finished when nobody has it open any more


def slow_append(scribe: Scribe) -> None:
    data = scribe.data()
    scribe.states(data)
    with scribe.path.open("wb", buffering=0) as file:
        scribe.drip(file, data)


def preallocated(scribe: Scribe) -> None:
    """Take the space first, then fill it in any order."""
    data = scribe.data()
    scribe.states(data)
    pieces = list(range(0, len(data), 8192))
    scribe.chance.shuffle(pieces)
    with scribe.path.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, len(data))
        for start in pieces:
            os.pwrite(file.fileno(), data[start : start + 8192], start)
            scribe.steps += 1
            scribe.pause(1.5 * SETTLE)


def sparse(scribe: Scribe) -> None:
    """Write the end first, the begin later, and leave holes."""
    begin, end, size = scribe.data(9_000), scribe.data(9_000), 1 << 20
    scribe.states(begin + bytes(size - len(begin) - len(end)) + end)
    with scribe.path.open("wb", buffering=0) as file:
        os.pwrite(file.fileno(), end, size - len(end))
        scribe.pause()
        os.pwrite(file.fileno(), begin, 0)
        scribe.steps += 2
        scribe.pause()


def open_handle(scribe: Scribe) -> None:
    """Have it complete, but open for much longer."""
    data = scribe.data()
    scribe.states(data)
    with scribe.path.open("wb", buffering=0) as file:
        file.write(data)
        scribe.steps += 1
        time.sleep(3 * SETTLE)


def mapping(scribe: Scribe) -> None:
    """Fill it through a mapping, with nothing open."""
    data = scribe.data()
    scribe.states(data)
    with scribe.path.open("w+b") as file:
        file.truncate(len(data))
        view = mmap.mmap(file.fileno(), 0)
    with view:
        for start in range(0, len(data), 16384):
            view[start : start + 16384] = data[start : start + 16384]
            scribe.steps += 1
            scribe.pause()


def renamed_open(scribe: Scribe) -> None:
    """Rename it to its name while it is still being written."""
    data = scribe.data()
    scribe.states(data)
    half = len(data) // 2
    temporary = scribe.path.with_name(f".{scribe.path.name}")
    with temporary.open("wb", buffering=0) as file:
        scribe.drip(file, data[:half], 2)
        temporary.rename(scribe.path)
        scribe.drip(file, data[half:], 2)


def given_up(scribe: Scribe) -> None:
    """Remove it before it is finished."""
    data = scribe.data()
    with scribe.path.open("wb", buffering=0) as file:
        scribe.drip(file, data, 2)
        scribe.path.unlink()
        scribe.drip(file, data, 2)


def written_by_another_name(scribe: Scribe) -> None:
    """Change it through a hard link that lies elsewhere, of which nobody here hears."""
    first, second = scribe.data(), scribe.data()
    scribe.states(first, second)
    with linked_aside(scribe, first), scribe.aside.open("r+b", buffering=0) as file:
        file.truncate(0)
        scribe.drip(file, second)


@contextmanager
def linked_aside(scribe: Scribe, data: bytes) -> Iterator[None]:
    """Give a whole file its name here, and one elsewhere for as long as this lasts."""
    scribe.aside.write_bytes(data)
    os.link(scribe.aside, scribe.path)
    time.sleep(SETTLE)
    yield
    scribe.aside.unlink()


# Where a file gets its name when it is finished


def temporary_name(scribe: Scribe) -> None:
    """Write under a name of files in progress, closed and opened again, then rename."""
    data = scribe.data()
    scribe.states(data)
    pattern = scribe.chance.choice((".{}", "{}.part", "{}.tmp", "{}.partial", ".{}.swp", "{}.crdownload", "~${}"))
    temporary = scribe.path.with_name(pattern.format(scribe.path.name))
    for start in range(0, len(data), 20_000):
        with temporary.open("ab", buffering=0) as file:
            file.write(data[start : start + 20_000])
            scribe.steps += 1
        scribe.pause(1.5 * SETTLE)
    temporary.rename(scribe.path)


def moved_in(scribe: Scribe) -> None:
    data = scribe.data()
    scribe.states(data)
    with scribe.aside.open("wb", buffering=0) as file:
        scribe.drip(file, data, 2)
    scribe.aside.rename(scribe.path)


def linked_in(scribe: Scribe) -> None:
    data = scribe.data()
    scribe.states(data)
    scribe.aside.write_bytes(data)
    os.link(scribe.aside, scribe.path)
    scribe.steps += 1
    scribe.aside.unlink()


def moved_over(scribe: Scribe) -> None:
    """Rename over an older file of the same size."""
    first = scribe.data()
    second = scribe.chance.randbytes(len(first))
    scribe.states(first, second)
    scribe.path.write_bytes(first)
    scribe.pause(3 * SETTLE)
    scribe.aside.write_bytes(second)
    scribe.aside.rename(scribe.path)
    scribe.steps += 2


def folder_moved_in(scribe: Scribe) -> None:
    """Move a folder in with folders and files in it."""
    scribe.aside.mkdir()
    for number in range(4):
        data, below = scribe.data(9_000), f"d{number % 2}/f{number}"
        scribe.states(data, name=f"{scribe.name}/{below}")
        (scribe.aside / below).parent.mkdir(exist_ok=True)
        (scribe.aside / below).write_bytes(data)
        scribe.steps += 1
    scribe.aside.rename(scribe.path)


def nested(scribe: Scribe) -> None:
    """Make folders and at once files in them."""
    folder = scribe.path
    for depth in range(6):
        folder = folder / f"{depth}"
        data = scribe.data(9_000)
        scribe.states(data, name=f"{folder.relative_to(scribe.tree)}/f")
        folder.mkdir(parents=True)
        (folder / "f").write_bytes(data)
        scribe.steps += 1


def old_times(scribe: Scribe) -> None:
    """Copy it with the times of the original, as ``cp -p`` does."""
    data = scribe.data()
    scribe.states(data)
    scribe.path.write_bytes(data)
    scribe.steps += 1
    if scribe.chance.random() < 0.5:
        scribe.pause()
    os.utime(scribe.path, (981173106, 981173106))


def link_before(scribe: Scribe) -> None:
    """Be a symbolic link to a file elsewhere for a while; what it points to is nobody's business."""
    scribe.aside.write_bytes(scribe.data())
    scribe.path.symlink_to(scribe.aside)
    scribe.pause(3 * SETTLE)
    data = scribe.data()
    scribe.states(data)
    scribe.path.unlink()
    scribe.path.write_bytes(data)
    scribe.steps += 2


def folder_before(scribe: Scribe) -> None:
    """Be a folder for a while."""
    scribe.path.mkdir()
    scribe.pause(2 * SETTLE)
    scribe.path.rmdir()
    data = scribe.data()
    scribe.states(data)
    with scribe.path.open("wb", buffering=0) as file:
        scribe.drip(file, data, 2)
        scribe.steps += 1


# Where a file is closed before it is finished


def closed_in_between(scribe: Scribe) -> None:
    """Close and open it again while it grows: what it is each time may arrive, the last must be the newest."""
    pieces = [scribe.data(9_000) for _ in range(scribe.chance.randrange(2, 5))]
    contents = [b"".join(pieces[:number]) for number in range(1, len(pieces) + 1)]
    for piece, content in zip(pieces, contents, strict=True):
        scribe.states(content)
        with scribe.path.open("ab", buffering=0) as file:
            file.write(piece)
            scribe.steps += 1
        scribe.pause(2 * SETTLE)


def empty_first(scribe: Scribe) -> None:
    data = scribe.data()
    scribe.states(b"")
    scribe.path.touch()
    scribe.pause(3 * SETTLE)
    scribe.states(data)
    with scribe.path.open("r+b", buffering=0) as file:
        scribe.drip(file, data, 2)


def written_anew(scribe: Scribe) -> None:
    """Write it anew in place when it may have arrived already."""
    first, second = scribe.data(), scribe.data()
    scribe.states(first)
    scribe.path.write_bytes(first)
    scribe.pause(3 * SETTLE)
    scribe.states(second)
    with scribe.path.open("wb", buffering=0) as file:
        scribe.drip(file, second)


def grows_by_pieces(scribe: Scribe) -> None:
    """Close and open it again, never leaving it alone for as long as it has to rest."""
    pieces = [scribe.data(9_000) for _ in range(6)]
    scribe.states(b"".join(pieces))
    for piece in pieces:
        with scribe.path.open("ab", buffering=0) as file:
            file.write(piece)
            scribe.steps += 1
        scribe.pause(0.3 * SETTLE)


def marked(scribe: Scribe) -> None:
    """Close it in between and leave it alone for long; a file beside it says when it is finished."""
    pieces = [scribe.data(9_000) for _ in range(3)]
    scribe.states(b"".join(pieces))
    for piece in pieces:
        with scribe.path.open("ab", buffering=0) as file:
            file.write(piece)
            scribe.steps += 1
        scribe.pause(3 * SETTLE)
    scribe.states(b"", name=f"{scribe.name}.done")
    scribe.path.with_name(f"{scribe.path.name}.done").touch()


def folder_marked(scribe: Scribe) -> None:
    """Write files below a folder; one file in it says that all are finished."""
    scribe.path.mkdir()
    contents = {f"{scribe.name}/d{n}/f": [scribe.data(5_000), scribe.data(5_000)] for n in range(2)}
    for name, pieces in contents.items():
        scribe.states(b"".join(pieces), name=name)
    for turn in range(2):
        for name, pieces in contents.items():
            (scribe.tree / name).parent.mkdir(exist_ok=True)
            with (scribe.tree / name).open("ab", buffering=0) as file:
                file.write(pieces[turn])
                scribe.steps += 1
        scribe.pause(3 * SETTLE)
    scribe.states(b"", name=f"{scribe.name}/READY")
    (scribe.path / "READY").touch()


Way = Callable[[Scribe], None]

PLAIN: list[Way] = [
    slow_append,
    preallocated,
    sparse,
    open_handle,
    mapping,
    renamed_open,
    given_up,
    written_by_another_name,
    temporary_name,
    moved_in,
    linked_in,
    moved_over,
    folder_moved_in,
    nested,
    old_times,
    link_before,
    folder_before,
    closed_in_between,
    empty_first,
    written_anew,
]
REOPENED: list[Way] = [grows_by_pieces]
MARKED: list[Way] = [marked]
FOLDER_MARKED: list[Way] = [folder_marked]
