"""Conditional and partial requests for one file (RFC 9110 sections 13 and 14): pure decisions on headers."""

import re
from typing import NamedTuple

from dray.api.problems import RangeRefused

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)


class Span(NamedTuple):
    """Which bytes to send: a part of the file when ``partial``."""

    offset: int
    length: int
    partial: bool


def matches(if_none_match: str | None, etag: str) -> bool:
    """Say whether the caller has this very content already."""
    if if_none_match is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in known or etag in known


def choose(wanted: str | None, if_range: str | None, etag: str, size: int) -> Span:
    """Return the bytes to send; a range that is malformed, one of several, or of other content gives the whole file.

    Raises RangeRefused when none of the wanted bytes exist.
    """
    found = _RANGE.fullmatch(wanted.strip()) if wanted else None
    whole = Span(0, size, False)
    if found is None or (if_range is not None and if_range.strip() != etag):
        return whole
    first, last = found[1], found[2]
    if first:
        return _from(int(first), int(last) if last else None, size) or whole
    return _last(int(last), size) if last else whole


def _from(first: int, last: int | None, size: int) -> Span | None:
    if last is not None and last < first:
        return None
    if first >= size:
        raise RangeRefused(size)
    end = size if last is None else min(last + 1, size)
    return Span(first, end - first, True)


def _last(count: int, size: int) -> Span:
    if count == 0 or size == 0:
        raise RangeRefused(size)
    count = min(count, size)
    return Span(size - count, count, True)
