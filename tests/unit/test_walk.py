"""What a command finds below the paths it was given."""

import os
import sys
from pathlib import Path

import pytest

from dray.errors import NotFound
from dray.model.filters import UNBOUNDED, Filters, SizeAndAge
from dray.moving.digest import version_of
from dray.moving.walk import Found, Skipped, Walk, source_of, trees

posix_names = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


def look(*paths, prefix="", rules=(), bounds=UNBOUNDED, now=0.0):
    walk = Walk(Filters.parse(rules, bounds=bounds), now, set())
    return [seen for tree in trees([str(path) for path in paths], prefix) for seen in walk.run(tree)]


def found(*paths, **more):
    return [seen.path for seen in look(*paths, **more) if isinstance(seen, Found)]


def skipped(*paths, **more):
    return {os.path.basename(s.path.rstrip("/")): s.cause for s in look(*paths, **more) if isinstance(s, Skipped)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("run/b.h5", "run/a.h5", "run/sub/deep/c.h5", "run/sub/d.txt", "run/z/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "run"


def test_a_directory_keeps_its_name(run):
    assert found(run) == ["run/a.h5", "run/b.h5", "run/sub/d.txt", "run/sub/deep/c.h5", "run/z/e.txt"]


def test_a_directory_with_a_slash_means_its_contents(run):
    assert found(f"{run}/sub/") == ["d.txt", "deep/c.h5"]


def test_the_current_directory_means_its_contents(run, monkeypatch):
    monkeypatch.chdir(run / "sub")
    assert found(".") == ["d.txt", "deep/c.h5"]


def test_files_arrive_below_the_path_of_the_address(run):
    assert found(run / "a.h5", run / "sub", prefix="2026/x") == [
        "2026/x/sub/d.txt",
        "2026/x/sub/deep/c.h5",
        "2026/x/a.h5",
    ]


def test_a_file_carries_what_tells_its_version(run):
    (seen,) = look(run / "a.h5")
    stat = os.stat(run / "a.h5")
    assert (seen.size, seen.mtime_ns, seen.origin) == (stat.st_size, stat.st_mtime_ns, "a.h5")
    assert seen.version == version_of(stat).token()


def test_what_is_not_there_is_an_error(run):
    with pytest.raises(NotFound):
        look(run / "nothing")


def test_links_below_are_rows_and_not_followed(run):
    (run / "link").symlink_to(run / "sub")
    (run / "file-link").symlink_to("a.h5")
    (run / "dangling").symlink_to("nowhere")
    assert skipped(run) == {"link": "link", "file-link": "link", "dangling": "link"}
    assert len(found(run)) == 5


def test_a_link_that_is_named_itself_is_followed_and_keeps_its_own_name(run, tmp_path):
    (tmp_path / "latest").symlink_to(run / "sub")
    (tmp_path / "first").symlink_to(run / "a.h5")
    assert found(tmp_path / "latest", tmp_path / "first") == ["latest/d.txt", "latest/deep/c.h5", "first"]


@posix_names
def test_a_pipe_is_a_row(run):
    os.mkfifo(run / "pipe")
    assert skipped(run) == {"pipe": "special"}


@posix_names
def test_a_folder_that_may_not_be_read_is_a_row_and_the_others_are_found(run, monkeypatch):
    real = os.listdir

    def listdir(folder):
        if os.path.basename(os.readlink(f"/proc/self/fd/{folder}")) == "sub":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    assert skipped(run) == {"sub": "unreadable"}
    assert found(run) == ["run/a.h5", "run/b.h5", "run/z/e.txt"]


@posix_names
def test_names_that_dray_does_not_take_are_rows(run):
    Path(os.fsdecode(os.fsencode(run / "raw-") + b"\xff")).write_text("x")
    (run / "new\nline").write_text("x")
    assert list(skipped(run).values()) == ["name"]
    assert "run/new\nline" in found(run)


def test_a_file_left_out_by_a_rule_is_a_row_with_the_rule(run):
    rows = [seen for seen in look(run, rules=["+ *.h5", "- **"]) if isinstance(seen, Skipped)]
    assert {(os.path.basename(row.path), row.cause) for row in rows} == {("d.txt", "filtered"), ("e.txt", "filtered")}
    assert "- **" in rows[0].reason
    assert found(run, rules=["+ *.h5", "- **"]) == ["run/a.h5", "run/b.h5", "run/sub/deep/c.h5"]


def test_a_folder_left_out_by_a_rule_is_one_row(run):
    assert skipped(run, rules=["- sub/"]) == {"sub": "filtered"}
    assert found(run, rules=["- sub/**"]) == ["run/a.h5", "run/b.h5", "run/z/e.txt"]


def test_rules_hold_for_files_that_are_named_themselves(run):
    assert skipped(run / "a.h5", rules=["- *.h5"]) == {"a.h5": "filtered"}


def test_bounds_of_size_leave_files_out(run):
    (run / "empty").write_text("")
    assert skipped(run, bounds=SizeAndAge(min_size=1)) == {"empty": "filtered"}


def test_a_file_that_has_the_name_of_drays_own_folder_is_told_of(run):
    (run / ".dray").write_text("somebody's")
    assert skipped(f"{run}/") == {".dray": "name"}
    assert "run/.dray" in found(run)


def test_drays_own_files_in_a_download_are_left_out(run):
    (run / ".dray" / "staging").mkdir(parents=True)
    (run / ".dray" / "staging" / "x").write_text("x")
    assert skipped(run) == {".dray": "filtered"}


def test_two_arguments_with_the_same_name_are_not_put_over_each_other(run, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.h5").write_text("other")
    assert found(run / "a.h5", tmp_path / "other" / "a.h5") == ["a.h5"]
    assert skipped(run / "a.h5", tmp_path / "other" / "a.h5") == {"a.h5": "twice"}


def test_very_deep_trees_are_walked(tmp_path):
    deep = tmp_path
    for _ in range(400):
        deep /= "d"
        deep.mkdir()
    (deep / "f").write_text("x")
    assert found(f"{tmp_path}/") == ["d/" * 400 + "f"]


def test_the_source_differs_by_machine_and_path_and_is_the_same_each_time():
    assert source_of("a", "/x", "y/z") == source_of("a", "/x/y", "z")
    assert len({source_of("a", "/x", "y"), source_of("b", "/x", "y"), source_of("a", "/x", "z")}) == 3
