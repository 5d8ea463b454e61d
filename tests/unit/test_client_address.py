"""Addresses on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.client.address import Place, parse, place
from dray.errors import UsageError


def test_an_address_is_taken_apart_and_percent_decoded():
    address = parse("http://host:8080/runs/a%20b/c%3Fd/")
    assert address.origin == "http://host:8080"
    assert address.segments == ("runs", "a b", "c?d")
    assert address.folder


def test_spaces_and_letters_of_any_script_need_no_encoding():
    assert parse("http://host/runs/Pröbe 1").segments == ("runs", "Pröbe 1")


def test_an_ipv6_host_keeps_its_brackets():
    assert parse("http://[::1]:8080/x").origin == "http://[::1]:8080"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/x",
        "ftp://host/x",
        "http://",
        "http:///x",
        "http://host:port/x",
        "http://me:pw@host/x",
        "http://h/x?y",
        "http://h/x#y",
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(url):
    with pytest.raises(UsageError) as refused:
        parse(url)
    assert refused.value.hint


def test_a_password_in_an_address_is_not_repeated_in_the_message():
    with pytest.raises(UsageError) as refused:
        parse("http://me:secret@host/x")
    assert "secret" not in str(refused.value)


def test_the_servers_prefix_is_not_part_of_the_place():
    address = parse("https://host/labs/dray/runs/2026/a.h5")
    assert place(address, "https://host/labs/dray", 2) == Place("https://host/labs/dray", "runs", "2026/a.h5")


def test_an_address_without_a_dataset_says_how_to_name_one():
    with pytest.raises(UsageError, match="no dataset"):
        place(parse("http://host/"), "http://host", 0)


@pytest.mark.parametrize("name", ["-a", ".hidden", "a b", "a" * 129])
def test_what_cannot_name_a_dataset_is_refused(name):
    with pytest.raises(UsageError, match="not a name of a dataset"):
        place(parse(f"http://host/{name}"), "http://host", 0)


@given(st.lists(st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_a_place_printed_as_an_address_names_the_same_place(names):
    where = Place("http://host", "runs", "/".join(names))
    assert place(parse(str(where)), "http://host", 0) == where
