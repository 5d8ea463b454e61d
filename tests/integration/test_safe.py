"""`dray safe` against a real server: never a yes too early."""

import os

import pytest

from tests.integration.client import Client, content

LARGE = 3 * (1 << 20) + 17


def verdicts(client: Client, *args: str) -> tuple[int, dict[str, str]]:
    ended = client.run("safe", *args, "--json")
    items = ended.document["items"] if ended.out else []
    return ended.code, {os.path.relpath(item["path"], client.home): item["state"] for item in items}


@pytest.fixture
def sent(client: Client) -> Client:
    client.write("run/a.dat", content(10))
    client.write("run/sub/large.h5", content(LARGE, 1))
    client.write("run/other/b.dat", b"b")
    assert client.upload("run").code == 0
    return client


def test_everything_that_was_sent_is_safe_per_file_and_folder(sent: Client) -> None:
    assert verdicts(sent, "run") == (
        0,
        {"run/a.dat": "safe", "run/sub/large.h5": "safe", "run/other/b.dat": "safe", "run": "safe"},
    )


@pytest.mark.parametrize("path", ["run/a.dat", "run/sub", "run/sub/", "run/sub/large.h5"])
def test_any_part_of_what_was_sent_may_be_asked_for(sent: Client, path: str) -> None:
    code, found = verdicts(sent, path)
    assert code == 0
    assert set(found.values()) == {"safe"}


def test_a_folder_above_what_was_sent_may_be_asked_for(client: Client) -> None:
    client.write("above/one/a.dat", b"a")
    client.write("above/two/b.dat", b"b")
    client.upload("above/one")
    client.upload("above/two/b.dat")
    assert verdicts(client, "above")[0] == 0


def test_a_person_reads_that_it_may_be_deleted(sent: Client) -> None:
    ended = sent.run("safe", "run")
    assert ended.code == 0
    assert "safe to delete: 3 files" in ended.out


def test_a_byte_changed_since_is_not_safe_and_its_folder_neither(sent: Client) -> None:
    times = (sent.home / "run/a.dat").stat()
    sent.write("run/a.dat", content(10, 9))
    os.utime(sent.home / "run/a.dat", ns=(times.st_atime_ns, times.st_mtime_ns))
    code, found = verdicts(sent, "run")
    assert code == 11
    assert found["run/a.dat"] == found["run"] == "differs"
    assert found["run/sub"] == found["run/other"] == "safe"
    assert verdicts(sent, "run/a.dat")[0] == 6


def test_a_file_that_was_never_sent_is_not_known(sent: Client) -> None:
    sent.write("run/new.dat", b"new")
    code, found = verdicts(sent, "run")
    assert (code, found["run/new.dat"], found["run"]) == (11, "unknown", "unknown")
    assert verdicts(sent, "run/new.dat")[0] == 3


def test_a_link_in_a_folder_keeps_it_from_being_safe(sent: Client) -> None:
    (sent.home / "run/link").symlink_to("a.dat")
    code, found = verdicts(sent, "run")
    assert (code, found["run/link"], found["run"]) == (11, "unknown", "unknown")


def test_where_nothing_was_noted_the_place_has_to_be_named(sent: Client) -> None:
    sent.write("copy/run/a.dat", content(10))
    assert verdicts(sent, "copy")[0] == 3
    assert verdicts(sent, "copy/run", "--to", sent.url)[0] == 0
    assert verdicts(sent, "copy/run/", "--to", f"{sent.url}/run")[0] == 0
    assert verdicts(sent, "copy/run", "--to", f"{sent.url}/run")[0] == 0


def test_a_file_on_its_way_is_moving(client: Client) -> None:
    client.write("a.dat", content(LARGE))
    client.upload("a.dat", options=("--json", "--no-wait"))
    code, found = verdicts(client, "a.dat")
    assert (code, found["a.dat"]) in ((5, "moving"), (0, "safe"))


def test_an_older_version_is_a_verified_copy_too(sent: Client) -> None:
    sent.write("run/a.dat", b"newer")
    sent.upload("run")
    sent.write("run/a.dat", content(10))
    assert verdicts(sent, "run")[0] == 0


def test_a_copy_found_damaged_is_no_copy(sent: Client) -> None:
    stored = sent.store / "run/a.dat"
    stored.chmod(0o600)
    stored.write_bytes(b"0123456789")
    assert sent.run("scrub", sent.url).code == 6
    code, found = verdicts(sent, "run/a.dat")
    assert (code, found["run/a.dat"]) == (6, "damaged")


def test_nothing_proves_nothing(client: Client) -> None:
    (client.home / "empty").mkdir()
    assert client.run("safe", "empty").code == 3
    assert client.run("safe", "absent").code == 3


def test_a_server_that_is_away_leaves_the_question_open(sent: Client) -> None:
    assert verdicts(sent, "run", "--to", "http://127.0.0.1:1/x")[0] == 5
