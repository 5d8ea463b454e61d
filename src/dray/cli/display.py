"""The one way to show results: text, tables, JSON and JSON lines from the same values."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, TextIO
from unicodedata import combining, east_asian_width

import msgspec

from dray.cli.choices import Output
from dray.cli.console import OutputClosed
from dray.clock import Clock, SystemClock
from dray.errors import DrayError
from dray.model.names import printable

SCHEMA = 1
"""Version of everything printed with --json and --jsonl; raised when a member changes its meaning or goes away."""

PAGE = 1000
"""Rows after which column widths are fixed, so that a list of any length is shown as it arrives."""


class Column(NamedTuple):
    """One column of a table, or one line of a record.

    ``of`` is the name of an attribute (or key) of the value, or a function that makes the cell from the value.
    A table whose columns (but the last) have a ``width`` is printed row by row instead of when its widths are known.
    """

    title: str
    of: str | Callable[[Any], object]
    right: bool = False
    width: int = 0

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
        self.voice: Callable[[str], None] = self._say
        self._clock = clock or SystemClock()

    def record(self, kind: str, value: object, fields: Sequence[Column]) -> None:
        """Show one value: a line a field, or one document ``{"v", "kind", "data"}``."""
        if self.output == "json":
            self.line(dumps({"v": SCHEMA, "kind": kind, "data": plain(value)}))
        elif self.output == "jsonl":
            self.event(kind, value)
        else:
            self.describe(value, fields)

    def rows(self, kind: str, items: Iterable[object], columns: Sequence[Column], empty: str = "") -> int:
        """Show a list and return how many there were; see ``listing``."""
        with self.listing(kind, columns, empty) as listing:
            for item in items:
                listing.add(item)
        return listing.shown

    def listing(self, kind: str, columns: Sequence[Column], empty: str = "") -> "Listing":
        """Begin a list that is shown as its items are added: a context manager.

        A table (or the note ``empty``), or one document ``{"v", "kind", "items", "data"}``, or an event ``kind`` each.
        """
        forms: dict[Output, Callable[[Display, str, Sequence[Column], str], Listing]]
        forms = {"text": Table, "json": Document, "jsonl": Events}
        return forms[self.output](self, kind, columns, empty)

    def event(self, kind: str, value: object) -> None:
        """Print one event ``{"v", "t", "event", ...}`` as a line; nothing but with --jsonl."""
        if self.output == "jsonl":
            head = {"v": SCHEMA, "t": round(self._clock.wall(), 3), "event": kind}
            self.line(dumps({**head, **plain(value)}))

    def text(self, line: str) -> None:
        """Print one line of result, in text mode only; names in it are made safe."""
        if self.output == "text":
            self.line(printable(line))

    def describe(self, value: object, fields: Sequence[Column]) -> None:
        """Show one value as a line a field, in text mode only."""
        wide = max((width(field.title) for field in fields), default=0)
        for field in fields if self.output == "text" else ():
            self.line(f"{_pad(field.title, wide - width(field.title), False)}  {field.cell(value)}")

    def note(self, text: str) -> None:
        """Tell something on stderr, unless the user asked for quiet."""
        if not self.look.quiet:
            self.voice(printable(text))

    def warn(self, text: str) -> None:
        """Tell something on stderr that must not be missed."""
        self.voice(f"dray: {printable(text)}")

    def _say(self, text: str) -> None:
        print(text, file=self.err, flush=True)

    def line(self, text: str) -> None:
        """Write one finished line of output."""
        # One write a line: the thread that shows progress writes here, too.
        try:
            self.out.write(text + "\n")
            if self.output == "jsonl":
                self.out.flush()
        except BrokenPipeError:
            raise OutputClosed from None


class Listing(ABC):
    """A list that is shown while it grows, so that its length does not matter."""

    def __init__(self, display: Display, kind: str, columns: Sequence[Column], empty: str) -> None:
        self.display, self.kind, self.columns, self.empty = display, kind, columns, empty
        self.shown = 0

    def __enter__(self) -> "Listing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end(complete=error is None)

    def add(self, item: object) -> None:
        """Show one more item."""
        self.shown += 1
        self.show(item)

    @abstractmethod
    def show(self, item: object) -> None:
        """Show one item."""

    @abstractmethod
    def summary(self, value: object) -> None:
        """Say the value that sums the list up, before it ends; in text the caller says it in words."""

    @abstractmethod
    def end(self, complete: bool) -> None:
        """End the list; ``complete`` is False when an error cut it short."""


class Table(Listing):
    """Columns as wide as the first PAGE rows need."""

    def __init__(self, display: Display, kind: str, columns: Sequence[Column], empty: str) -> None:
        super().__init__(display, kind, columns, empty)
        self._first: list[list[str]] = []
        self._widths: list[int] = []

    def show(self, item: object) -> None:
        """Keep the first rows until the widths are known, print the later ones."""
        row = [column.cell(item) for column in self.columns]
        if self._widths:
            self.display.line(_line(row, self._widths, self.columns))
        else:
            self._first.append(row)
            if len(self._first) == PAGE or all(column.width for column in self.columns[:-1]):
                self._begin()

    def summary(self, value: object) -> None:
        """Leave it to the caller's words."""

    def end(self, complete: bool) -> None:
        """Print what is left."""
        if self._first and not self._widths:
            self._begin()
        elif complete and not self.shown and self.empty:
            self.display.note(self.empty)

    def _begin(self) -> None:
        rows = [[column.title for column in self.columns], *self._first]
        needed = [max(map(width, column)) for column in zip(*rows, strict=True)]
        self._widths = [column.width or wide for column, wide in zip(self.columns, needed, strict=True)]
        for row in rows:
            self.display.line(_line(row, self._widths, self.columns))


class Document(Listing):
    """One JSON document, an item a line."""

    def __init__(self, display: Display, kind: str, columns: Sequence[Column], empty: str) -> None:
        super().__init__(display, kind, columns, empty)
        self._tail: dict[str, object] = {}

    def show(self, item: object) -> None:
        """Print one item."""
        self.display.line((self._head() if self.shown == 1 else ",") + dumps(plain(item)))

    def summary(self, value: object) -> None:
        """Keep it for the end."""
        self._tail["data"] = plain(value)

    def end(self, complete: bool) -> None:
        """Close the document; one that was cut short says so, one that never began is left out."""
        if not complete:
            self._tail["incomplete"] = True
        if complete or self.shown:
            tail = "".join(f", {dumps(name)}: {dumps(value)}" for name, value in self._tail.items())
            self.display.line(f"{'' if self.shown else self._head()}]{tail}}}")

    def _head(self) -> str:
        return f'{{"v": {SCHEMA}, "kind": {dumps(self.kind)}, "items": ['


class Events(Listing):
    """One event an item."""

    def show(self, item: object) -> None:
        """Print the event."""
        self.display.event(self.kind, item)

    def summary(self, value: object) -> None:
        """Print the event ``kind.summary``."""
        self.display.event(f"{self.kind}.summary", value)

    def end(self, complete: bool) -> None:
        """Print nothing more."""


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
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: object) -> str:
    """Return JSON in ASCII: it survives every terminal, code page and name."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
