import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.api.downloads import disposition
from dray.api.problems import RangeRefused
from dray.api.ranges import Span, choose, matches

ETAG = '"sha256:00"'
WHOLE = Span(0, 100, False)


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        ("bytes=0-0", Span(0, 1, True)),
        ("bytes=10-19", Span(10, 10, True)),
        ("bytes=90-", Span(90, 10, True)),
        ("bytes=-5", Span(95, 5, True)),
        ("bytes=-500", Span(0, 100, True)),
        ("bytes=50-500", Span(50, 50, True)),
        ("Bytes= 1-2 ", Span(1, 2, True)),
    ],
)
def test_a_single_range_is_sent_alone(wanted: str, span: Span) -> None:
    assert choose(wanted, None, ETAG, 100) == span


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=1-2,4-5",
        "items=1-2",
        "bytes=1",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_whatever_is_no_single_range_gives_the_whole_file(wanted: str | None) -> None:
    assert choose(wanted, None, ETAG, 100) == WHOLE


@pytest.mark.parametrize("wanted", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_outside_the_file_is_refused_with_its_size(wanted: str) -> None:
    with pytest.raises(RangeRefused) as caught:
        choose(wanted, None, ETAG, 100)
    assert caught.value.size == 100


def test_no_range_of_an_empty_file_exists() -> None:
    with pytest.raises(RangeRefused):
        choose("bytes=0-", None, ETAG, 0)


def test_a_range_of_other_content_gives_the_whole_file() -> None:
    assert choose("bytes=0-1", '"sha256:11"', ETAG, 100) == WHOLE
    assert choose("bytes=0-1", ETAG, ETAG, 100) == Span(0, 2, True)


@given(st.text(), st.integers(0, 1000))
def test_no_range_header_ever_reaches_outside_the_file(wanted: str, size: int) -> None:
    try:
        span = choose(wanted, None, ETAG, size)
    except RangeRefused:
        return
    assert 0 <= span.offset <= span.offset + span.length <= size


@pytest.mark.parametrize("header", [ETAG, f"W/{ETAG}", f'"x", {ETAG}', "*"])
def test_known_content_is_recognised(header: str) -> None:
    assert matches(header, ETAG)


@pytest.mark.parametrize("header", [None, "", '"x"', "sha256:00"])
def test_other_content_is_not_recognised(header: str | None) -> None:
    assert not matches(header, ETAG)


def test_a_plain_name_is_offered_as_it_is() -> None:
    assert disposition("run 1.h5") == "attachment; filename=\"run 1.h5\"; filename*=UTF-8''run%201.h5"


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_no_name_breaks_out_of_its_header(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.startswith('attachment; filename="')


def test_a_hostile_name_cannot_add_a_header_or_a_folder() -> None:
    header = disposition('a"\r\nSet-Cookie: x=1;/../é')
    assert header.startswith('attachment; filename="a___Set-Cookie: x=1__..__"; ')
