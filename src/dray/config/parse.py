"""Sizes, durations and bandwidth timetables as people write them. Pure functions."""

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec

from dray.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b?)", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
MINUTES_A_DAY = 1440


class Size(int):
    """A number of bytes, written ``10M``, ``1GiB``, ``512``."""

    __slots__ = ()

    def __str__(self) -> str:
        for unit, power in (("PiB", 5), ("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
            if self and self % 1024**power == 0:
                return f"{self // 1024**power}{unit}"
        return int.__repr__(self)


class Seconds(float):
    """A span of time, written ``2s``, ``10m``, ``1h30m``."""

    __slots__ = ()

    def __str__(self) -> str:
        for unit in ("w", "d", "h", "m"):
            if self and self % _SECONDS[unit] == 0:
                return f"{self / _SECONDS[unit]:.0f}{unit}"
        return f"{self:.3f}".rstrip("0").rstrip(".") + "s"


class Slot(msgspec.Struct, frozen=True):
    """From this minute of the day on, this many bytes a second; None is no limit."""

    minute: int
    rate: int | None


class Timetable(msgspec.Struct, frozen=True):
    """Limits through the day, in the order of their minutes; no slot at all is no limit."""

    slots: tuple[Slot, ...] = ()

    def rate_at(self, minute: int) -> int | None:
        """Return the limit at a minute of the local day (0 to 1439) in bytes a second, None for no limit.

        Before the first slot of the day the last one of the day before still holds.
        """
        if not self.slots:
            return None
        past = [slot for slot in self.slots if slot.minute <= minute % MINUTES_A_DAY]
        return (past or self.slots)[-1].rate

    def __str__(self) -> str:
        rates = [(f"{s.minute // 60:02}:{s.minute % 60:02}", _rate(s.rate)) for s in self.slots]
        return " ".join(f"{time},{rate}" for time, rate in rates) or "off"


def _rate(rate: int | None) -> str:
    return "off" if rate is None else str(Size(rate))


def parse_size(text: str) -> Size:
    """Read a size. ``K``, ``M``, ``KiB`` count by 1024, ``KB``, ``MB`` by 1000; no unit means bytes."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text!r} is not a size", hint='write for example "10M" or "1GiB"')
    number, prefix, suffix = match.groups()
    base = 1000 if prefix and suffix.lower() == "b" else 1024
    return Size(Decimal(number) * base ** _POWERS[prefix.lower()])


def parse_duration(text: str) -> Seconds:
    """Read a span of time; several units add up, no unit means seconds."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return Seconds(float(text))
    found = _DURATION.findall(text)
    if not found or _DURATION.sub("", text).strip():
        raise UsageError(f"{text!r} is not a duration", hint='write for example "2s", "10m" or "1h30m"')
    return Seconds(sum(float(number) * _SECONDS[unit] for number, unit in found))


def parse_rate(text: str) -> int | None:
    """Read bytes a second (``10M``, ``10M/s``), or ``off`` for no limit."""
    text = text.strip().lower().removesuffix("/s")
    if text in ("off", "none", "unlimited"):
        return None
    rate = parse_size(text)
    if rate == 0:
        raise UsageError("a rate of 0 would never move anything", hint='write "off" for no limit')
    return rate


def parse_timetable(text: str) -> Timetable:
    """Read ``10M``, ``off`` or ``08:00,10M 18:00,off``: from each time of the day on, that rate."""
    words = text.split()
    if len(words) == 1 and "," not in words[0]:
        rate = parse_rate(words[0])
        return Timetable((Slot(0, rate),)) if rate else Timetable()
    slots = sorted((_slot(word) for word in words), key=lambda slot: slot.minute)
    _refuse_twice(slots)
    return Timetable(tuple(slots))


def _slot(word: str) -> Slot:
    time, comma, rate = word.partition(",")
    match = _TIME.fullmatch(time)
    if not comma or not match:
        raise UsageError(f"{word!r} is not a time and a rate", hint='write for example "08:00,10M 18:00,off"')
    return Slot(int(match[1]) * 60 + int(match[2]), parse_rate(rate))


def _refuse_twice(slots: Sequence[Slot]) -> None:
    for one, other in pairwise(slots):
        if one.minute == other.minute:
            raise UsageError(f"{one.minute // 60:02}:{one.minute % 60:02} is given twice in the timetable")
