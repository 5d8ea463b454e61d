"""The one way to show results: text, tables, JSON and JSON lines from the same values."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple, TextIO, TypeVar
from unicodedata import combining, east_asian_width

import msgspec

from dray.cli.choices import Output
from dray.clock import Clock, SystemClock
from dray.errors import DrayError
from dray.model.names import printable

V = TypeVar("V")
SCHEMA = 1
"""Version of everything printed with --json and --jsonl; raised when a member changes its meaning or goes away."""

PAGE = 1000
"""Rows after which column widths are fixed, so that a list of any length is shown as it arrives."""


class Column(NamedTuple):
    """One column of a table, or one line of a record.

    ``of`` is the name of an attribute (or key) of the value, or a function that makes the cell from the value.
    """

    title: str
    of: str | Callable[[Any], object]
    right: bool = False

    def cell(self, value: object) -> str:
        """Return the text of this column for ``value``."""
        return _text(self._find(value))

    def _find(self, value: object) -> object:
        if callable(self.of):
            return self.of(value)
        return value.get(self.of) if isinstance(value, dict) else getattr(value, self.of)


@dataclass(frozen=True)
class Look:
    """How much is said on stderr, and what the terminal behind it can do."""

    quiet: bool = False
    colour: bool = False
    moves: bool = False


class Display:
    """Shows results on ``out``; notes and warnings go to ``err``."""

    def __init__(
        self, output: Output, out: TextIO, err: TextIO, look: Look | None = None, clock: Clock | None = None
    ) -> None:
        self.output = output
        self.out, self.err = out, err
        self.look = look or Look()
        self._clock = clock or SystemClock()

    def record(self, kind: str, value: object, fields: Sequence[Column]) -> None:
        """Show one value: a line a field, or one document ``{"v", "kind", "data"}``."""
        if self.output == "json":
            self._print(dumps({"v": SCHEMA, "kind": kind, "data": plain(value)}))
        elif self.output == "jsonl":
            self.event(kind, value)
        else:
            self._fields(value, fields)

    def rows(
        self,
        kind: str,
        items: Iterable[object],
        columns: Sequence[Column],
        *,
        empty: str = "",
        summary: Callable[[], object] | None = None,
    ) -> int:
        """Show a list as it arrives and return how many there were.

        A table, or one document ``{"v", "kind", "items", "data"}``, or an event ``kind`` each. ``summary`` makes the
        value that ends a document (``data``) or the events (``kind.summary``); in text the caller says it in words.
        """
        if self.output == "text":
            return self._table(items, columns, empty)
        if self.output == "json":
            return self._document(kind, items, summary)
        shown = _each(items, lambda item: self.event(kind, item))
        if summary:
            self.event(f"{kind}.summary", summary())
        return shown

    def event(self, kind: str, value: object) -> None:
        """Print one event ``{"v", "t", "event", ...}`` as a line; nothing but with --jsonl."""
        if self.output == "jsonl":
            head = {"v": SCHEMA, "t": round(self._clock.wall(), 3), "event": kind}
            self._print(dumps({**head, **plain(value)}))

    def text(self, line: str) -> None:
        """Print one line of result, in text mode only; names in it are made safe."""
        if self.output == "text":
            self._print(printable(line))

    def note(self, text: str) -> None:
        """Tell something on stderr, unless the user asked for quiet."""
        if not self.look.quiet:
            print(printable(text), file=self.err, flush=True)

    def warn(self, text: str) -> None:
        """Tell something on stderr that must not be missed."""
        print(f"dray: {printable(text)}", file=self.err, flush=True)

    def _fields(self, value: object, fields: Sequence[Column]) -> None:
        wide = max((width(field.title) for field in fields), default=0)
        for field in fields:
            self._print(f"{_pad(field.title, wide - width(field.title), False)}  {field.cell(value)}")

    def _document(self, kind: str, items: Iterable[object], summary: Callable[[], object] | None) -> int:
        shown = 0
        self._print(f'{{"v": {SCHEMA}, "kind": {dumps(kind)}, "items": [')
        for shown, item in enumerate(items, 1):
            self._print(("," if shown > 1 else " ") + dumps(plain(item)))
        self._print(f'], "data": {dumps(plain(summary()))}}}' if summary else "]}")
        return shown

    def _table(self, items: Iterable[object], columns: Sequence[Column], empty: str) -> int:
        cells = ([column.cell(item) for column in columns] for item in items)
        first = list(islice(cells, PAGE))
        if not first:
            self.note(empty)
            return 0
        head = [column.title for column in columns]
        widths = [max(map(width, column)) for column in zip(head, *first, strict=True)]
        self._print(_line(head, widths, columns))
        return _each(chain(first, cells), lambda row: self._print(_line(row, widths, columns)))

    def _print(self, line: str) -> None:
        print(line, file=self.out)
        if self.output == "jsonl":
            self.out.flush()


def _each(items: Iterable[V], act: Callable[[V], None]) -> int:
    number = 0
    for item in items:
        act(item)
        number += 1
    return number


def _text(cell: object) -> str:
    return "-" if cell is None else printable(str(cell))


def _line(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    cells = zip(row, widths, columns, strict=True)
    return "  ".join(_pad(text, to - width(text), column.right) for text, to, column in cells).rstrip()


def _pad(text: str, missing: int, right: bool) -> str:
    return " " * missing + text if right else text + " " * missing


def width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def plain(value: object) -> Any:
    """Return ``value`` as dictionaries, lists, texts and numbers."""
    return msgspec.to_builtins(value, enc_hook=_plain_other)


def _plain_other(value: object) -> object:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, DrayError):
        return {"code": value.code, "message": value.message, "item": value.item, "hint": value.hint}
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def dumps(value: object) -> str:
    """Return JSON in ASCII: it survives every terminal, code page and name."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
