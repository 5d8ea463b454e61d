"""Where files arrive: the same name for every try of one version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.errors import UsageError
from dray.model.layout import parse_layout

MTIME = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    ("layout", "path", "there"),
    [
        ("mirror", "a/b/c.h5", "a/b/c.h5"),
        ("flatten", "a/b/c.h5", "c.h5"),
        ("strip 1", "a/b/c.h5", "b/c.h5"),
        ("strip 9", "a/b/c.h5", "c.h5"),
        ("{mtime:%Y/%m/%d}/{name}", "a/b/c.h5", "2023/11/14/c.h5"),
        ("in/{folder}/{stem}-{mtime:%H%M}{suffix}", "a/b/c.h5", "in/a/b/c-2213.h5"),
        ("{folder}/{stem}{suffix}", "c", "c"),
        ("{stem}{suffix}", ".hidden", ".hidden"),
    ],
)
def test_a_layout_gives_the_name_at_the_destination(layout: str, path: str, there: str) -> None:
    assert parse_layout(layout).place(path, MTIME) == there


@pytest.mark.parametrize("layout", ["mirrored", "{nam}", "{name:%Y}", "{mtime:%Y}", "{name", "strip", ""])
def test_what_is_no_layout_is_refused_with_what_would_be_one(layout: str) -> None:
    with pytest.raises(UsageError, match=r"mirror|fields|use"):
        parse_layout(layout)


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), min_size=1, max_size=4))
def test_no_name_is_taken_for_a_field(parts: list[str]) -> None:
    path = "/".join(parts)
    assert parse_layout("x/{name}").place(path, MTIME) == f"x/{parts[-1]}"
