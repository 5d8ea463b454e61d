"""How values are written for people on the pages."""

from datetime import UTC, datetime

from dray.model.names import printable

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
STEPS = ((60, "second"), (60, "minute"), (24, "hour"), (365, "day"))

STATES = {
    "accepted": ("verified", "good"),
    "verified": ("verified", "good"),
    "pending": ("arriving", "busy"),
    "uploaded": ("being verified", "busy"),
    "moving": ("on its way", "busy"),
    "arriving": ("arriving", "busy"),
    "rejected": ("rejected", "bad"),
    "failed": ("failed", "bad"),
    "damaged": ("damaged", "bad"),
    "corrupt": ("corrupt", "bad"),
    "lost": ("lost", "bad"),
    "cancelled": ("cancelled", ""),
    "removed": ("removed", ""),
}
"""A state in the words of the pages, and the colour that goes with it."""

EVENTS = {
    "upload.pending": ("registered", ""),
    "upload.uploaded": ("sent", ""),
    "upload.accepted": ("verified", "good"),
    "upload.rejected": ("rejected", "bad"),
    "upload.failed": ("failed", "bad"),
    "upload.cancelled": ("cancelled", ""),
    "copy.corrupt": ("found corrupt", "bad"),
    "copy.lost": ("found lost", "bad"),
    "copy.verified": ("verified again", "good"),
    "dataset.created": ("dataset made", ""),
    "token.created": ("token made", ""),
    "token.revoked": ("token revoked", ""),
}


def size(count: float) -> str:
    """Return bytes with three digits."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {UNITS[unit]}"


def number(count: int) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def iso(at: float) -> str:
    """Return a time as a date and time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: float) -> str:
    """Return the time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def ago(at: float, now: float) -> str:
    """Return how far a time is from now, in the largest unit that fits."""
    seconds = abs(now - at)
    text = "now" if seconds < 1 else _span(seconds)
    if text == "now":
        return text
    return f"{text} ago" if at <= now else f"in {text}"


def _span(seconds: float) -> str:
    unit = 0
    while unit < len(STEPS) and seconds >= STEPS[unit][0]:
        seconds /= STEPS[unit][0]
        unit += 1
    whole = int(seconds)
    return f"{whole} {(*(name for _, name in STEPS), 'year')[unit]}{'' if whole == 1 else 's'}"


def basename(path: str) -> str:
    """Return the last component of a path."""
    return path.rpartition("/")[2]


def event(kind: str) -> tuple[str, str]:
    """Return what happened in plain words, and its colour."""
    return EVENTS.get(kind) or (printable(kind).replace("_", " ").replace(".", " "), "")


def state(name: str) -> tuple[str, str]:
    """Return a state in plain words and its colour."""
    return STATES.get(name, (printable(name), ""))
