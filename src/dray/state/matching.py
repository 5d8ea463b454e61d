"""Conditions on names and paths that read the same on both databases."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_


def starts_with(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """Return the condition that ``column`` begins with ``prefix``, as a range that an index serves."""
    after = successor(prefix)
    return and_(column >= prefix, column < after) if after else column >= prefix


def successor(prefix: str) -> str:
    """Return the least text after all that begin with ``prefix``; empty when there is none."""
    for end in range(len(prefix), 0, -1):
        following = ord(prefix[end - 1]) + 1
        if following <= 0x10FFFF:
            # The numbers of surrogates are not characters.
            return prefix[: end - 1] + chr(0xE000 if following == 0xD800 else following)
    return ""


def contains(connection_dialect: str, column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """Return the condition that ``part`` is somewhere in ``column``, letter for letter."""
    place = func.instr if connection_dialect == "sqlite" else func.strpos
    return place(column, part) > 0


def any_of(column: ColumnElement[Any], patterns: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that ``column`` is one of ``patterns``; one that ends in ``*`` takes any ending."""
    return or_(false(), *(_one(column, pattern) for pattern in patterns))


def _one(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    return starts_with(column, pattern[:-1]) if pattern.endswith("*") else column == pattern
