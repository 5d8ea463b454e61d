"""Addresses of accounts behind ssh and of directories."""

import pytest

from dray.client.elsewhere import FilePlace, S3Place, SftpPlace, is_elsewhere, parse, parse_sftp
from dray.errors import UsageError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sftp://hpfx/on_hpfx", SftpPlace("hpfx", "on_hpfx")),
        ("sftp://hpfx", SftpPlace("hpfx")),
        ("sftp://hpfx/", SftpPlace("hpfx", folder=True)),
        ("sftp://hpfx//data/in", SftpPlace("hpfx", "/data/in")),
        ("sftp://hpfx//", SftpPlace("hpfx", "/", folder=True)),
        ("sftp://me@HPfx:2222/a/b/", SftpPlace("HPfx", "a/b", "me", 2222, folder=True)),
        ("sftp://[::1]:22//x", SftpPlace("::1", "/x", port=22)),
        ("SFTP://a/%41%20%3F", SftpPlace("a", "A ?")),
        ("sftp://a/%ff", SftpPlace("a", "\udcff")),
        ("sftp://first@realm@host/x", SftpPlace("host", "x", "first@realm")),
        ("s3://bucket/a/b", S3Place("bucket", "a/b")),
        ("s3://bucket", S3Place("bucket", "", folder=True)),
        ("S3://My.bucket-1/a%20b/", S3Place("My.bucket-1", "a b", folder=True)),
        ("file:///data/x", FilePlace("/data/x")),
        ("file://localhost/data%20x", FilePlace("/data x")),
    ],
)
def test_an_address_is_taken_apart_and_put_together_again(text: str, place: object) -> None:
    assert parse(text) == place
    again = parse(str(place))
    assert str(again) == str(place)


@pytest.mark.parametrize(
    "text",
    [
        "sftp://", "sftp:///x", "sftp://-oProxyCommand=id/x", "sftp://me:secret@host/x", "sftp://@host/x",
        "sftp://host:0/x", "sftp://host:99999/x", "sftp://host:x/y", "sftp://ho st/x", "sftp://host/a?b", "sftp://host/#a",
        "sftp://host/%00", "file://host/x", "file://x", "http://host/x",
        "s3://", "s3:///x", "s3://a b/x", "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/%ff", "s3://bucket/.dray/x",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_a_host_may_be_named_alone() -> None:
    assert parse_sftp("me@hpfx") == SftpPlace("hpfx", user="me")
    assert not is_elsewhere("http://server/dataset")
    with pytest.raises(UsageError):
        parse_sftp("file:///x")
