"""`dray upload` to a real server."""

import os
import sys

import pytest

from tests.integration.client import Client, content, tree

LARGE = 3 * (1 << 20) + 17
posix_names = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


def test_a_directory_arrives_with_its_name_and_every_file_is_a_row(client: Client) -> None:
    files = {
        "a.dat": content(10),
        "sub dir/ü.dat": content(1000, 1),
        "sub dir/large.h5": content(LARGE, 2),
        "empty": b"",
    }
    for name, data in files.items():
        client.write(f"run/{name}", data)
    ended = client.upload("run")
    assert ended.code == 0
    assert ended.kinds == {f"run/{name}": "moved" for name in files}
    assert ended.document["data"]["moved"] == 4
    assert tree(client.store / "run") == files


def test_a_slash_means_the_contents_and_a_path_is_a_folder(client: Client) -> None:
    client.write("run/a.dat", b"a")
    client.write("run/sub/b.dat", b"b")
    assert client.upload("run/", "run/a.dat", to="/2026/x").code == 11
    assert sorted(tree(client.store)) == ["2026/x/a.dat", "2026/x/sub/b.dat"]


def test_what_was_sent_is_not_sent_again(client: Client) -> None:
    client.write("run/a.dat", content(10))
    client.write("run/large.h5", content(LARGE))
    client.upload("run")
    ended = client.upload("run")
    assert (ended.code, set(ended.kinds.values())) == (0, {"already"})


def test_new_content_becomes_a_new_version_and_the_old_one_stays(client: Client) -> None:
    client.write("a.dat", b"one")
    client.upload("a.dat")
    client.write("a.dat", b"two")
    assert client.upload("a.dat").kinds == {"a.dat": "moved"}
    versions = client.run("ls", client.url, "--versions", "--json").document["items"]
    assert [(item["version_number"], item["current"]) for item in versions] in (
        [(1, False), (2, True)],
        [(2, True), (1, False)],
    )
    assert tree(client.store) == {"a.dat": b"two"}


def test_new_content_is_refused_where_that_is_asked_for(client: Client) -> None:
    client.write("a.dat", b"one")
    client.upload("a.dat")
    client.write("a.dat", b"other")
    ended = client.upload("a.dat", options=("--json", "--on-exists", "fail"))
    assert ended.code == 7
    assert ended.kinds == {"a.dat": "failed"}
    assert tree(client.store) == {"a.dat": b"one"}


def test_rules_leave_files_out_and_are_counted(client: Client) -> None:
    for name in ("a.h5", "b.txt", "tmp/c.h5"):
        client.write(f"run/{name}", b"x")
    ended = client.upload("run/", options=("--json", "--filter", "- tmp/**", "--filter", "+ *.h5", "--filter", "- **"))
    assert ended.code == 0
    assert ended.kinds == {"a.h5": "moved"}
    assert ended.document["data"]["filtered"] == 2


@posix_names
def test_what_cannot_be_sent_is_a_row_and_makes_the_whole_partial(client: Client) -> None:
    client.write("run/good.dat", b"x")
    (client.home / "run/link").symlink_to("good.dat")
    os.mkfifo(client.home / "run/pipe")
    client.write("run/new\nline", b"y")
    (client.home / os.fsdecode(b"run/raw-\xff")).write_bytes(b"z")
    ended = client.upload("run")
    assert ended.code == 11
    kinds = {os.path.basename(path): kind for path, kind in ended.kinds.items()}
    assert sorted(kinds.values()) == ["moved", "moved", "skipped", "skipped", "skipped"]
    assert kinds["new\nline"] == "moved"
    assert ended.document["data"]["causes"] == {"link": 1, "special": 1, "name": 1}


def test_a_person_sees_what_failed_and_a_sum(client: Client) -> None:
    client.write("run/good.dat", b"x")
    (client.home / "run/link").symlink_to("good.dat")
    ended = client.upload("run", options=())
    assert "link" in ended.out
    assert "good.dat" not in ended.out
    assert "1 file sent and verified, 1 skipped" in ended.out


def test_events_come_one_a_file_and_end_with_the_sums(client: Client) -> None:
    client.write("run/good.dat", b"x")
    (client.home / "run/link").symlink_to("good.dat")
    ended = client.upload("run", options=("--jsonl",))
    events = [line for line in ended.out.splitlines() if '"file.outcome"' in line]
    assert len(events) == 2
    assert '"file.outcome.summary"' in ended.out


def test_a_dry_run_prints_the_plan_and_sends_nothing(client: Client) -> None:
    client.write("run/a.h5", b"x")
    client.write("run/b.txt", b"y")
    ended = client.upload("run", options=("--json", "--dry-run", "--filter", "- *.txt"))
    assert ended.code == 0
    assert {os.path.basename(path): kind for path, kind in ended.kinds.items()} == {
        "a.h5": "planned",
        "b.txt": "skipped",
    }
    assert not client.store.exists()


def test_a_short_patience_is_a_patience(client: Client) -> None:
    client.write("a.dat", b"x")
    assert client.upload("a.dat", options=("--json", "--retry-for", "15s")).kinds["a.dat"] == "moved"


def test_without_waiting_it_says_what_is_not_verified_yet(client: Client) -> None:
    client.write("a.dat", content(LARGE))
    ended = client.upload("a.dat", options=("--json", "--no-wait"))
    assert ended.code == 0
    assert ended.kinds["a.dat"] in ("unverified", "moved")
    client.write("b.dat", content(LARGE, seed=1))
    shown = client.upload("b.dat", options=("--no-wait",))
    assert shown.code == 0
    assert "b.dat" not in shown.out


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("upload", "a.dat"), 2),
        (("upload", "a.dat", "{server}"), 2),
        (("upload", "nothing", "{url}"), 3),
        (("upload", "a.dat", "http://127.0.0.1:1/x"), 5),
        (("upload", "a.dat", "{url}-absent", "--no-create"), 3),
        (("upload", "a.dat", "{url}", "--filter", "nonsense"), 2),
    ],
)
def test_mistakes_have_their_exit_code_and_a_next_step(client: Client, args: tuple[str, ...], code: int) -> None:
    client.write("a.dat", b"x")
    ended = client.run(*(arg.format(url=client.url, server=client.server.url) for arg in args))
    assert ended.code == code
    assert "next step" in ended.err or "failed" in ended.out


def test_a_limited_upload_arrives(client: Client) -> None:
    client.write("a.dat", content(100_000))
    assert client.upload("a.dat", options=("--json", "--bwlimit", "1M")).code == 0


def test_nothing_to_send_is_no_failure(client: Client) -> None:
    (client.home / "empty").mkdir()
    assert client.upload("empty").code == 0
