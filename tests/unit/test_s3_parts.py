"""What buckets answer, and where their keys come from, without a service."""

import asyncio
from pathlib import Path

import pytest

from dray.client.http import Response
from dray.errors import (
    Denied,
    DrayError,
    Expired,
    NoSpace,
    NotFound,
    Permanent,
    PieceDamaged,
    Temporary,
    Unauthenticated,
)
from dray.model.names import RemotePath
from dray.model.values import Landing
from dray.transports.refs import ref_of, target_of
from dray.transports.s3 import answers
from dray.transports.s3.credentials import account
from dray.transports.s3.layout import Layout, Mark, mark_of, part_size_of
from dray.transports.s3.refusals import BY_CODE, refusal
from dray.transports.s3.settings import S3Settings

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}


def refused(status: int, code: str, headers: dict[str, str] | None = None, message: str = "") -> DrayError:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else ""
    return refusal(Response(status, headers or {}, body.encode()), 1_000_000_000.0)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchBucket", NotFound), (403, "AccessDenied", Denied), (403, "", Denied), (503, "SlowDown", Temporary),
        (503, "", Temporary), (500, "Odd", Temporary), (403, "ExpiredToken", Expired), (403, "QuotaExceeded", NoSpace),
        (400, "BadDigest", PieceDamaged), (403, "InvalidAccessKeyId", Unauthenticated), (501, "", Permanent),
    ],
)  # fmt: skip
def test_refusals_have_the_meaning_of_their_code(status: int, code: str, kind: type[DrayError]) -> None:
    assert type(refused(status, code)) is kind


def test_a_wrong_clock_is_told_by_how_much() -> None:
    error = refused(403, "RequestTimeTooSkewed", {"date": "Sun, 09 Sep 2001 01:36:40 GMT"})
    assert "600 s ahead of that of the service" in str(error)


def test_what_a_service_says_of_an_unknown_code_is_shown_on_one_line() -> None:
    assert "a\\nb &c" in str(refused(400, "NewCode", message="a\nb &amp;c"))
    assert refused(503, "SlowDown", {"retry-after": "7"}).after == 7.0


def test_every_refusal_that_helps_later_is_tried_later() -> None:
    later = {code for code, meaning in BY_CODE.items() if meaning[0].retry == "later"}
    assert {"SlowDown", "InternalError", "RequestTimeout", "ExpiredToken", "QuotaExceeded", "BadDigest"} <= later
    assert not {"NoSuchBucket", "AccessDenied", "SignatureDoesNotMatch"} & later


def test_keys_come_from_the_environment_and_the_address_from_there_too() -> None:
    found = account(S3Settings("b"), {**KEYS, "AWS_ENDPOINT_URL": "https://all/", "AWS_ENDPOINT_URL_S3": "https://s3/"})
    assert (found.endpoint, found.region) == ("https://s3", "us-east-1")
    found = account(S3Settings("b", endpoint="http://x", region="r"), {**KEYS, "AWS_REGION": "other"})
    assert (found.endpoint, found.region) == ("http://x", "r")
    assert "'s'" not in repr(found)


def test_keys_come_from_a_profile_as_other_tools_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = la\naws_secret_access_key = ls\n")
    (tmp_path / "config").write_text("[profile lab]\nregion = eu-west-9\nendpoint_url = https://lab.example\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = account(S3Settings("b", profile="lab"), {})
    assert (found.endpoint, found.region) == ("https://lab.example", "eu-west-9")
    keys = asyncio.run(found.keys())
    assert (keys.access, keys.secret) == ("la", "ls")
    with pytest.raises(DrayError, match="nobody"):
        account(S3Settings("b", profile="nobody"), {})
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(Unauthenticated, match="no credentials"):
        account(S3Settings("b"), {})


def test_keys_of_what_arrives_say_all_that_is_needed_to_go_on() -> None:
    target = target_of(ref_of(Landing(RemotePath("new\nline/ü"), 10, "v")))
    layout, mark = Layout("pre fix"), Mark(17, 0xABC, "d41d8-3")
    assert layout.data(target, 1 << 20).startswith("pre fix/.dray/staging/")
    assert part_size_of(layout.data(target, 1 << 20)) == 1 << 20
    assert mark_of(layout.mark(target, mark)) == mark
    assert mark_of(layout.data(target, 5)) is None
    assert Layout("").below(Layout("").final("a/b")) == "a/b"


@pytest.mark.parametrize("mtime_ns", [0, 1, 1_700_000_000_123_456_789, -1, -1_500_000_000])
def test_times_round_trip_through_metadata(mtime_ns: int) -> None:
    headers = {answers.MTIME: answers.mtime_text(mtime_ns), "etag": '"x"', "content-length": "1"}
    assert answers.seen_of(headers).mtime_ns == mtime_ns


def test_times_as_other_tools_write_them_are_read() -> None:
    assert answers.seen_of({answers.MTIME: "1700000000.25"}).mtime_ns == 1_700_000_000_250_000_000
    assert answers.seen_of({answers.MTIME: "x", "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT"}).mtime_ns == 10**18


def test_what_xml_cannot_hold_hurts_no_list() -> None:
    body = b"<A><EncodingType>url</EncodingType><Prefix>&#x01;\x02</Prefix><Contents><Key>a%01%2B+</Key></Contents></A>"
    assert [one.key for one in answers.listed(answers.parsed(Response(200, {}, body)))] == ["a\x01+ "]


def test_what_is_no_s3_service_is_said_to_be_none() -> None:
    with pytest.raises(Permanent, match="no S3 service"):
        answers.parsed(Response(200, {}, b"<html><p>Welcome"))
