"""A scan compares a tree with the journal, in slices, and closes only the rows of what is certainly gone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dray.agent.journal import Journal, Key
from dray.agent.look import Looker
from dray.agent.scan import Scan
from dray.clock import SystemClock
from dray.errors import Forbidden, NotFound
from dray.fs import Folder, Root
from dray.model.filters import HOT_DIRECTORY, Filters, SizeAndAge
from dray.model.settle import Policy


class Rooted(Root):
    """A root some of whose folders cannot be read; superusers read everything, so permissions would not do."""

    unreadable: Sequence[str] = ()

    def folder(self, path: str = "") -> Folder:
        if path in self.unreadable:
            raise PermissionError(13, "Permission denied", path)
        return super().folder(path)


class Ticking(SystemClock):
    """A clock on which every look takes a second."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


class Tree:
    """A directory, its journal and its scans."""

    def __init__(self, base: Path) -> None:
        (base / "hot").mkdir()
        self.top = base / "hot"
        self.root = Rooted(self.top)
        self.journal = Journal(base / "journal.sqlite")
        self.clock = SystemClock()
        self.watched: list[str] = []

    def write(self, *paths: str) -> None:
        for path in paths:
            (self.top / path).parent.mkdir(parents=True, exist_ok=True)
            (self.top / path).write_bytes(path.encode())

    def begin(self, *rules: str, start: Sequence[str] = ("",), bounds: SizeAndAge | None = None) -> Scan:
        filters = Filters.parse(rules, HOT_DIRECTORY, bounds or SizeAndAge())
        looker = Looker(self.root, filters, Policy(settle=0.0), self.clock)
        return Scan(looker, self.watched.append, start)

    def scan(self, *rules: str, start: Sequence[str] = ("",), bounds: SizeAndAge | None = None) -> dict[str, str]:
        scan = self.begin(*rules, start=start, bounds=bounds)
        with self.journal.transaction():
            while not scan.step(self.journal):
                pass
        return self.states()

    def states(self) -> dict[str, str]:
        folders = self.journal.folders()
        return {Key(f, name).path: row.state for f in folders for name, row in self.journal.rows(f).items()}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    yield made
    made.journal.close()
    made.root.top.close()


def test_every_folder_is_watched_before_it_is_listed(tree: Tree) -> None:
    tree.write("a/b/f", "c/f", ".git/x")
    tree.scan()
    assert sorted(tree.watched) == ["", "a", "a/b", "c"]


def test_a_folder_that_cannot_be_read_is_told_and_its_files_do_not_count_as_deleted(tree: Tree) -> None:
    tree.write("a/f", "a/b/g", "h")
    tree.scan()
    tree.root.unreadable = ["a"]
    assert tree.scan() == {"h": "queued", "a": "refused", "a/f": "queued", "a/b/g": "queued"}
    assert [one.reason for one in tree.journal.in_state("refused")] == [
        "the operating system refuses access: Permission denied"
    ]
    tree.root.unreadable = []
    assert tree.scan() == {"h": "queued", "a/f": "queued", "a/b/g": "queued"}


def test_a_top_that_cannot_be_read_or_was_replaced_is_an_error_and_changes_nothing(tree: Tree, tmp_path: Path) -> None:
    tree.write("a")
    before = tree.scan()
    tree.root.unreadable = [""]
    with pytest.raises(Forbidden):
        tree.scan()
    tree.root.unreadable = []
    tree.top.rename(tmp_path / "away")
    tree.top.mkdir()
    with pytest.raises(NotFound):
        tree.scan()
    assert tree.states() == before


def test_folders_that_are_gone_close_all_rows_below_them(tree: Tree) -> None:
    tree.write("a/b/c/f", "a/g")
    tree.scan()
    (tree.top / "a" / "b").rename(tree.top / "z")
    assert tree.scan() == {"a/b/c/f": "gone", "a/g": "queued", "z/c/f": "queued"}


def test_a_folder_that_came_during_the_scan_is_not_taken_for_gone(tree: Tree) -> None:
    tree.write("f")
    tree.write("d/e")
    tree.clock = Ticking()
    scan = tree.begin()
    with tree.journal.transaction():
        assert not scan.step(tree.journal)
    tree.write("late/g")
    tree.scan(start=["late"])
    with tree.journal.transaction():
        while not scan.step(tree.journal):
            pass
    assert tree.states() == {"f": "queued", "d/e": "queued", "late/g": "queued"}


def test_a_folder_that_rules_leave_out_later_keeps_its_rows(tree: Tree) -> None:
    tree.write("raw/f", "g")
    tree.scan()
    assert tree.scan("- raw/") == {"g": "queued", "raw/f": "queued", "raw": "skipped"}
    assert tree.scan() == {"g": "queued", "raw/f": "queued"}


def test_a_name_that_becomes_a_folder_or_a_file_is_followed(tree: Tree) -> None:
    tree.write("x")
    tree.scan()
    (tree.top / "x").unlink()
    tree.write("x/f")
    assert tree.scan() == {"x": "gone", "x/f": "queued"}
    (tree.top / "x" / "f").unlink()
    (tree.top / "x").rmdir()
    tree.write("x")
    assert tree.scan() == {"x": "queued", "x/f": "gone"}


def test_bounds_of_size_and_age_leave_files_out_with_a_reason(tree: Tree) -> None:
    tree.write("small", "a-large-name")
    assert tree.scan(bounds=SizeAndAge(max_size=6)) == {"small": "queued", "a-large-name": "skipped"}


def test_a_scan_of_a_part_closes_nothing_elsewhere(tree: Tree) -> None:
    tree.write("a/f", "b/g")
    tree.scan()
    (tree.top / "b" / "g").unlink()
    assert tree.scan(start=["a"]) == {"a/f": "queued", "b/g": "queued"}


def test_a_scan_hands_over_after_a_slice_of_time(tree: Tree) -> None:
    tree.write(*(f"d{number}/f" for number in range(5)))
    tree.clock = Ticking()
    scan, steps = tree.begin(), 1
    while True:
        with tree.journal.transaction():
            if scan.step(tree.journal):
                break
        steps += 1
    assert steps > 5
    assert len(tree.states()) == 5
