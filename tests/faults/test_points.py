"""Points are read from a trace the way strace counts: a file's calls for each file, others for each thread."""

from pathlib import Path

from tests.faults.points import Point, killed_in, points, thinned

DATA = Path("/d/data")
TRACE = """\
7 write(3<pipe:[1]>, "*", 1) = 1
7 write(5</d/data/inbox/a/x.parts>, "p", 1) = 1
8 fdatasync(4</d/data/database.sqlite-wal> <unfinished ...>
7 write(5</d/data/inbox/a/x.parts>, "q", 1) = 1
8 <... fdatasync resumed>) = 0
7 fsync(6</elsewhere>) = 0
7 renameat2(5</d/data/inbox/a>, "x", 6</d/data/store/run>, "one.bin", RENAME_NOREPLACE) = 0
7 write(9</d/data/.admin.token.0123abcd>, "s", 1) = 1
7 unlink("/elsewhere/y") = 0
7 unlink("/d/data/z") = 0
7 +++ exited with 0 +++
"""


def test_points_are_counted_for_each_file_and_thread() -> None:
    found = points(TRACE, DATA, {7: "disk", 8: "database"})
    assert [point[:4] for point in found] == [
        ("disk", "write", "inbox/a/x.parts", 1),
        ("database", "fdatasync", "database.sqlite-wal", 1),
        ("disk", "write", "inbox/a/x.parts", 2),
        ("disk", "renameat2", None, 1),
        ("disk", "write", None, 4),  # of a file with another name in every run, counted with all writes
        ("disk", "unlink", None, 2),
    ]
    assert found[3].about == "inbox/a/x -> store/run/one.bin"
    assert found[4].about == ".admin.token.*"


def test_a_point_says_how_strace_hits_it() -> None:
    point = Point("disk", "write", "inbox/a/x.parts", 2, "inbox/a/x.parts")
    assert point.options(DATA, "signal=KILL") == [
        *("-P", "/d/data/inbox/a/x.parts", "-e", "trace=write"),
        *("-e", "inject=write:signal=KILL:when=2"),
    ]
    assert point.options(DATA, "error=EIO", "2+")[-1] == "inject=write:error=EIO:when=2+"


def test_without_names_only_the_first_thread_to_come_so_far_counts() -> None:
    trace = "\n".join(f'{thread} mkdir("/d/data/{name}", 0777) = 0' for thread, name in ((1, "a"), (2, "b"), (2, "c")))
    assert [(point.n, point.about) for point in points(trace, DATA, None)] == [(1, "/a"), (2, "/c")]


def test_of_the_writes_of_a_commit_the_first_and_the_last_are_kept() -> None:
    calls = ["pwrite64"] * 4 + ["fdatasync"] + ["pwrite64"] + ["fdatasync"]
    found = [Point("w", call, "log", number, "log") for number, call in enumerate(calls)]
    assert [point.n for point in thinned(found, "log")] == [0, 3, 4, 5, 6]


def test_a_kill_is_proven_by_the_call_it_hit(tmp_path: Path) -> None:
    log = tmp_path / "trace"
    log.write_text('write(3</d/data/other>, "x", 1) = 1\nwrite(5</d/data/inbox/a/x.parts>, "q", 1) = ?\n')
    point = Point("disk", "write", "inbox/a/x.parts", 2, "inbox/a/x.parts")
    assert killed_in(point, -9, log)
    assert killed_in(point, 0, log) is None
    assert killed_in(point._replace(about="inbox/a/y.parts"), -9, log) is None
