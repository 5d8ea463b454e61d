"""`dray check` against a real server."""

import os

import pytest

from tests.integration.client import Client, content


@pytest.fixture
def sent(client: Client) -> Client:
    for name in ("run/same", "run/only there", "run/sub/changed", "run/sub/size"):
        client.write(name, content(100, len(name)))
    assert client.upload("run").code == 0
    return client


def check(client: Client, *args: str) -> tuple[int, list[str]]:
    ended = client.run("check", *args)
    return ended.code, sorted(ended.out.splitlines())


def test_a_tree_that_is_the_same_is_all_equal_signs(sent: Client) -> None:
    assert check(sent, "run", sent.url) == (0, ["= only there", "= same", "= sub/changed", "= sub/size"])


def test_every_difference_has_its_symbol(sent: Client) -> None:
    (sent.home / "run/only there").unlink()
    sent.write("run/only here", b"x")
    sent.write("run/sub/changed", content(100, 99))
    sent.write("run/sub/size", b"short")
    code, lines = check(sent, "run", sent.url)
    assert code == 6
    assert lines == ["* sub/changed", "* sub/size", "+ only here", "- only there", "= same"]
    assert check(sent, "run", sent.url, "--different")[1] == lines[:-1]


def test_times_do_not_count(sent: Client) -> None:
    os.utime(sent.home / "run/same", ns=(1, 1))
    assert check(sent, "run", sent.url)[0] == 0


def test_the_contents_are_compared_where_the_folder_is_not_there(sent: Client) -> None:
    assert check(sent, "run/", f"{sent.url}/run")[0] == 0
    assert check(sent, "run", f"{sent.url}/run")[0] == 0
    assert check(sent, "run/", sent.url)[0] == 6


def test_one_file_is_compared_alone(sent: Client) -> None:
    assert check(sent, "run/same", f"{sent.url}/run") == (0, ["= same"])
    assert check(sent, "run/same", sent.url) == (6, ["+ same"])


def test_what_cannot_be_compared_is_told(sent: Client) -> None:
    (sent.home / "run/link").symlink_to("same")
    code, lines = check(sent, "run", sent.url)
    assert code == 11
    assert any(line.startswith("! ") and line.endswith("link") for line in lines)


def test_rules_leave_out_both_sides(sent: Client) -> None:
    sent.write("run/sub/only here", b"x")
    assert check(sent, "run", sent.url, "--filter", "- sub/**") == (0, ["= only there", "= same"])


def test_programs_get_a_document_with_the_counts(sent: Client) -> None:
    sent.write("run/only here", b"x")
    document = sent.run("check", "run", sent.url, "--json").document
    assert document["data"]["symbols"] == {"=": 4, "+": 1}
    assert not document["data"]["same"]
    assert {"symbol": "+", "path": "only here", "reason": "not at the place", "size": 1} in document["items"]


def test_an_unknown_dataset_is_not_found(client: Client) -> None:
    client.write("a", b"x")
    assert client.run("check", "a", client.url).code == 3
