"""`dray download` from a real server."""

import os
from pathlib import Path

import pytest

from tests.integration.client import Client, content, tree

LARGE = 3 * (1 << 20) + 17
FILES = {
    "run/a.dat": content(10),
    "run/sub dir/ü.dat": content(1000, 1),
    "run/large.h5": content(LARGE, 2),
    "run/empty": b"",
    "top.dat": content(5, 3),
}


@pytest.fixture
def sent(client: Client) -> Client:
    """A user whose dataset has files."""
    for name, data in FILES.items():
        client.write(f"source/{name}", data)
    assert client.upload("source/").code == 0
    return client


def below(prefix: str) -> dict[str, bytes]:
    return {name.removeprefix(prefix): data for name, data in FILES.items() if name.startswith(prefix)}


def fetch(client: Client, path: str, *options: str, into: str = "back") -> tuple[int, dict[str, str]]:
    ended = client.run("download", f"{client.url}{path}", client.home / into, "--json", *options)
    return ended.code, ended.kinds if ended.out else {}


def test_a_dataset_comes_back_whole_and_nothing_else_is_left_there(sent: Client) -> None:
    code, kinds = fetch(sent, "")
    assert code == 0
    assert set(kinds.values()) == {"moved"}
    assert tree(sent.home / "back") == FILES
    assert sorted(os.listdir(sent.home / "back")) == ["run", "top.dat"]


def test_times_come_back(sent: Client) -> None:
    fetch(sent, "")
    for name in FILES:
        there, here = (sent.home / folder / name for folder in ("source", "back"))
        assert here.stat().st_mtime_ns == there.stat().st_mtime_ns


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/run", {f"run/{name}": data for name, data in below("run/").items()}),
        ("/run/", below("run/")),
        ("/run/sub%20dir", {"sub dir/ü.dat": FILES["run/sub dir/ü.dat"]}),
        ("/run/sub%20dir/ü.dat", {"ü.dat": FILES["run/sub dir/ü.dat"]}),
        ("/run/large.h5", {"large.h5": FILES["run/large.h5"]}),
    ],
)
def test_a_folder_keeps_its_name_and_a_slash_means_its_contents(
    sent: Client, path: str, expected: dict[str, bytes]
) -> None:
    assert fetch(sent, path)[0] == 0
    assert tree(sent.home / "back") == expected


def test_what_is_there_already_is_not_fetched_again(sent: Client) -> None:
    fetch(sent, "")
    code, kinds = fetch(sent, "")
    assert (code, set(kinds.values())) == (0, {"already"})


@pytest.mark.parametrize("other", [b"other", content(LARGE, 9)])
def test_a_file_with_other_content_is_left_alone_and_told(sent: Client, other: bytes) -> None:
    sent.write("back/run/large.h5", other)
    code, kinds = fetch(sent, "")
    assert (code, kinds["run/large.h5"]) == (11, "failed")
    assert tree(sent.home / "back") == {**FILES, "run/large.h5": other}


def test_a_file_with_other_content_is_replaced_where_that_is_asked_for(sent: Client) -> None:
    sent.write("back/run/large.h5", b"other")
    sent.write("back/run/a.dat", b"0123456789")
    assert fetch(sent, "", "--on-exists", "replace")[0] == 0
    assert tree(sent.home / "back") == FILES


def test_a_link_here_leads_nowhere(sent: Client) -> None:
    outside = sent.home / "outside"
    outside.mkdir()
    (sent.home / "back").mkdir()
    (sent.home / "back/run").symlink_to(outside)
    code, kinds = fetch(sent, "")
    assert (code, kinds["top.dat"], kinds["run/a.dat"]) == (11, "moved", "failed")
    assert list(outside.iterdir()) == []


def test_rules_choose_files(sent: Client) -> None:
    assert fetch(sent, "", "--filter", "+ *.h5", "--filter", "- **")[0] == 0
    assert list(tree(sent.home / "back")) == ["run/large.h5"]


def test_a_dry_run_fetches_nothing_and_makes_no_directory(sent: Client) -> None:
    code, kinds = fetch(sent, "", "--dry-run")
    assert (code, set(kinds.values())) == (0, {"planned"})
    assert not (sent.home / "back").exists()


def test_a_dry_run_says_what_is_there_already(sent: Client) -> None:
    sent.write("back/top.dat", FILES["top.dat"])
    sent.write("back/run/a.dat", b"other")
    code, kinds = fetch(sent, "", "--dry-run")
    assert (code, kinds["top.dat"], kinds["run/a.dat"], kinds["run/empty"]) == (11, "already", "failed", "planned")


def test_newer_content_is_what_is_fetched(sent: Client) -> None:
    sent.write("source/top.dat", b"newer")
    sent.upload("source/")
    fetch(sent, "/top.dat")
    assert (sent.home / "back/top.dat").read_bytes() == b"newer"


@pytest.mark.parametrize("path", ["/nothing", "/ru", "/run/a.dat/below"])
def test_what_is_not_there_is_not_found(sent: Client, path: str) -> None:
    assert fetch(sent, path)[0] == 3


def test_an_unknown_dataset_is_not_found(client: Client) -> None:
    assert fetch(client, "")[0] == 3


def test_a_copy_that_was_damaged_at_rest_gets_no_name_here(sent: Client) -> None:
    stored = sent.store / "run/a.dat"
    times = stored.stat()
    stored.chmod(0o600)
    stored.write_bytes(b"0123456789")
    os.utime(stored, ns=(times.st_atime_ns, times.st_mtime_ns))
    code, kinds = fetch(sent, "")
    assert (code, kinds["run/a.dat"]) == (11, "failed")
    assert not Path(sent.home / "back/run/a.dat").exists()
    assert tree(sent.home / "back") == {name: data for name, data in FILES.items() if name != "run/a.dat"}
