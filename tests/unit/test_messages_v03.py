"""Sarracenia v03 messages: what real sr3 sends is read, what we write is what it reads."""

import contextlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.errors import DrayError, NameRefused, Refused
from dray.messaging.v03 import (
    Identity,
    Operation,
    Post,
    carried,
    carrying,
    decode,
    encode,
    inside,
    parse_time,
    time_text,
    topic,
)
from dray.model.checksum import Checksum

DIGEST = "2zl0qX8kB7fK4a5jfAAwaHoRkTJ01XhJJVjjnBbAF96E6s3Ixi/jTuThK0sUKIF/Cbaidgw/imZM6ulNJDSlkw=="

FILE = {
    "pubTime": "20261120T064417.0988862514",
    "relPath": "sub/dir/a.txt",
    "baseUrl": "file:/srv/bob/to_hpfx",
    "source": "pas037",
    "mode": "644",
    "size": 12,
    "mtime": "20261120T064413.250985861",
    "atime": "20261120T064413.250985861",
    "identity": {"method": "sha512", "value": DIGEST},
    "contentType": "text/plain",
}
"""Captured from a real sr3 watch."""


def read(**fields: object) -> Post:
    base = {"pubTime": FILE["pubTime"], "baseUrl": "file:/hot", "relPath": "a"}
    return decode(json.dumps(base | fields).encode())


def test_a_message_of_a_real_watch_is_read() -> None:
    post = decode(json.dumps(FILE).encode())
    assert (post.base_url, post.path, post.size, post.mode) == ("file:/srv/bob/to_hpfx", "sub/dir/a.txt", 12, 0o644)
    assert post.posted_ns == 1795157057098886251
    assert post.mtime_ns == 1795157053250985861
    assert post.identity == Identity("sha512", DIGEST)
    assert post.more == (("atime", '"20261120T064413.250985861"'),)
    checksum = post.identity.checksum()
    assert checksum is not None
    assert Identity.of(checksum) == post.identity


def test_what_we_write_differs_from_a_real_watch_only_in_the_digits_of_times() -> None:
    written = json.loads(encode(decode(json.dumps(FILE).encode())))
    assert written.pop("pubTime") == "20261120T064417.098886251"
    assert written == {key: value for key, value in FILE.items() if key != "pubTime"}
    assert topic("sub/dir/a.txt") == "v03.sub.dir"


@pytest.mark.parametrize(
    ("fields", "operation"),
    [
        ({"relPath": "sub", "mode": "755", "fileOp": {"directory": ""}}, Operation(directory=True)),
        ({"relPath": "s", "fileOp": {"link": "d/f"}}, Operation(link="d/f")),
        ({"relPath": "d/g", "fileOp": {"rename": "/srv/bob/d/f"}}, Operation(rename="/srv/bob/d/f")),
        ({"relPath": "d/g", "fileOp": {"remove": ""}}, Operation(remove=True)),
        ({"relPath": "d", "fileOp": {"remove": "", "directory": ""}}, Operation(remove=True, directory=True)),
        ({"relPath": "d", "fileOp": {"rename": "/d", "directory": ""}}, Operation(directory=True, rename="/d")),
        ({"relPath": "h", "fileOp": {"hlink": "g"}}, Operation(hlink="g")),
        ({"fileOp": {"explode": ""}}, None),
        ({"fileOp": "remove"}, None),
    ],
)
def test_what_happened_to_a_name_is_read(fields: dict[str, object], operation: Operation | None) -> None:
    assert read(**fields).operation == operation


def test_old_names_are_understood() -> None:
    old = read(integrity={"method": "md5", "value": "abc="}, retPath="x/y", parts="1,77,1,0,0")
    assert (old.identity, old.retrieve_path, old.size) == (Identity("md5", "abc="), "x/y", 77)
    assert set(json.loads(encode(old))) == {"pubTime", "baseUrl", "relPath", "identity", "retrievePath", "size"}


def test_new_names_win_over_old_ones_and_pieces_of_files_are_passed_on() -> None:
    both = read(size="5", parts="1,77,1,0,0", integrity=1, identity={"method": "cod", "value": "sha512"})
    assert (both.size, both.identity) == (5, Identity("cod", "sha512"))
    assert read(parts="i,10,3,0,1").more == (("parts", '"i,10,3,0,1"'),)


def test_unknown_keys_travel_untouched_and_internal_ones_do_not() -> None:
    odd = {"to_clusters": "x", "blocks": {"n": [1, 2.5, None]}, "content": {"encoding": "utf-8", "value": "é\udcff"}}
    post = read(**odd, _deleteOnPost=["x"], new_path="/x", ack_id=3, exchange="e", subtopic=["a"], local_offset=0)
    written = json.loads(encode(post))
    assert {key: written[key] for key in odd} == odd
    assert written.keys() == odd.keys() | {"pubTime", "baseUrl", "relPath"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("size", -1), ("size", True), ("size", "many"), ("mode", "rw"), ("mtime", "soon"), ("identity", "sha512:x")],
)
def test_a_hint_that_cannot_be_read_is_no_reason_to_lose_a_file(key: str, value: object) -> None:
    post = read(**{key: value})
    assert post.more == ((key, json.dumps(value)),)
    assert json.loads(encode(post))[key] == value


def test_what_says_nothing_about_bytes_travels_on_with_a_file() -> None:
    heard = read(to_clusters="x", atime="t", content={"value": "old"}, source="bob", contentType="text/plain", size=3)
    ours = Post("sftp://far", "a", 0, size=5, source="lab", mtime_ns=7)
    told = json.loads(encode(carrying(ours, carried(heard, "lab"))))
    assert told["to_clusters"] == "x"
    assert (told["source"], told["contentType"], told["size"]) == ("bob", "text/plain", 5)
    assert not {"atime", "content"} & told.keys()
    assert carried(read(source="lab", size=3, mode="644"), "lab") == ""
    assert carrying(ours, "") == ours


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"3", b"{}", b'{"baseUrl":1,"relPath":"a"}', b"[" * 100_000])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="not a v03 message"):
        decode(body)


@pytest.mark.parametrize("path", ["..", "../a", "a/../../b", "/../a", "a/..", "", "/", "./.", "a\0b", "\ud800"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(NameRefused):
        read(relPath=path)
    with pytest.raises(NameRefused):
        encode(Post("file:/hot", path, 0))


def test_absolute_paths_are_below_the_base_and_strange_names_are_kept() -> None:
    assert read(relPath="//etc/./passwd").path == "etc/passwd"
    assert read(relPath="..a/b..\n -x").path == "..a/b..\n -x"
    raw = os.fsdecode(b"caf\xe9")
    assert inside(raw) == raw
    assert os.fsencode(decode(encode(Post("file:/hot", raw, 0))).path) == b"caf\xe9"


def test_a_rename_and_a_message_without_time_are_never_posted() -> None:
    with pytest.raises(Refused, match="rename"):
        encode(Post("file:/hot", "a", 0, operation=Operation(rename="/hot/b")))
    with pytest.raises(Refused, match="time"):
        encode(Post("file:/hot", "a"))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a.txt", "v03"),
        ("dir#1.x/f", "v03.dir%231.x"),
        ("a*b/c/f", "v03.a%22b.c"),
        ("/".join(["d" * 100] * 4), "v03." + ".".join(["d" * 100] * 3)[:251]),
        ("é" * 200 + "/f", "v03." + "é" * 125),
        ("\udcff/f", "v03.?"),
    ],
)
def test_the_routing_key_has_a_word_for_each_directory(path: str, key: str) -> None:
    assert topic(path) == key
    assert len(topic(path).encode()) <= 255


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("19700101T000000", 0),
        ("19700101T000001.5", 1_500_000_000),
        ("19700101T000001.2e-05", 1_000_002_000),
        ("19700101T000001e-05", 1_000_000_000),
        ("19700101000001.25", 1_250_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01 00:00:01+00:00", 1_000_000_000),
        ("19701301T000000", None),
        ("yesterday", None),
    ],
)
def test_times_are_read_leniently(text: str, ns: int | None) -> None:
    assert parse_time(text) == ns


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9))
def test_every_time_survives_being_written(ns: int) -> None:
    assert parse_time(time_text(ns)) == ns
    assert len(time_text(ns)) in (22, 25)


NAMES = st.text(st.characters(exclude_categories=()), max_size=12).map(lambda text: text.replace("/", "-"))
RAW = st.binary(min_size=1, max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"/", b"-").replace(b"\0", b"-")))
GOOD = RAW.filter(lambda name: name not in (".", ".."))
PATHS = st.lists(GOOD, min_size=1, max_size=4).map("/".join)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | NAMES, lambda inner: st.lists(inner, max_size=3))
MORE = st.dictionaries(st.sampled_from(["to_clusters", "geometry", "x-1", "content"]), JSON.map(json.dumps), max_size=3)
TIMES = st.integers(0, 10**19)
POSTS = st.builds(
    Post,
    st.just("file:/hot") | NAMES,
    PATHS,
    TIMES,
    size=st.none() | st.integers(0, 10**18),
    identity=st.none() | st.builds(Identity, NAMES, NAMES),
    mtime_ns=st.none() | TIMES,
    mode=st.none() | st.integers(0, 0o7777),
    content_type=st.none() | NAMES,
    source=st.none() | NAMES,
    operation=st.none()
    | st.builds(Operation, st.booleans(), st.booleans(), st.none() | NAMES).filter(lambda made: made != Operation()),
    more=MORE.map(lambda more: tuple(more.items())),
)


@given(POSTS)
def test_every_post_survives_being_written_and_read(post: Post) -> None:
    assert decode(encode(post)) == post


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_refusal_comes_of_garbage(body: bytes) -> None:
    with contextlib.suppress(Refused, NameRefused):
        decode(body)


@given(st.dictionaries(st.sampled_from([*FILE, "fileOp", "parts", "integrity"]), JSON | NAMES))
def test_no_field_however_strange_breaks_the_reader(fields: dict[str, object]) -> None:
    try:
        post = decode(json.dumps(fields).encode())
    except DrayError:
        return
    assert ".." not in post.path.split("/")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
def test_a_checksum_travels_as_base64_of_the_raw_digest(algorithm: str) -> None:
    checksum = Checksum(algorithm, "0f" * {"sha256": 32, "sha512": 64, "md5": 16}[algorithm])
    assert Identity.of(checksum).checksum() == checksum


@pytest.mark.parametrize("identity", [Identity("cod", "sha512"), Identity("random", "77"), Identity("sha512", "?")])
def test_what_is_no_digest_is_no_checksum(identity: Identity) -> None:
    assert identity.checksum() is None
