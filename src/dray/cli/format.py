"""Sizes, rates and times as people read them. Pure functions."""

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: float) -> str:
    """Return a number of bytes with a binary unit: ``1.5 GiB``."""
    power = 0
    while abs(count) >= 999.5 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.0f} {_UNITS[power]}" if power == 0 or count >= 99.95 else f"{count:.1f} {_UNITS[power]}"


def rate(per_second: float) -> str:
    """Return bytes a second: ``12.3 MiB/s``."""
    return f"{size(per_second)}/s"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a span of time with its two largest units: ``3 min 20 s``."""
    if 0 < seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, length, smaller, step in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // step
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    raise AssertionError("every span of 60 s or more has a unit")


def when(stamp: float | None) -> str:
    """Return a time in the zone of this machine: ``2026-11-20 08:21:03``."""
    return (
        datetime.fromtimestamp(stamp, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if stamp is not None else "-"
    )


def ago(stamp: float | None, now: float) -> str:
    """Return how long ago a time was, or how far ahead it is."""
    if stamp is None:
        return "-"
    return f"{duration(now - stamp)} ago" if stamp <= now else f"in {duration(stamp - now)}"
