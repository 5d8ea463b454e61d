"""Under which name a file of a hot directory arrives: a pure decision about its path and the time of its content."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from dray.errors import UsageError
from dray.model.values import Value

MIRROR = "mirror"
_STRIP = re.compile(r"strip\s+(\d+)")
_FIELD = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
FIELDS = ("path", "folder", "name", "stem", "suffix", "mtime")

_HINT = 'write "mirror", "flatten", "strip 2" or a template such as "{mtime:%Y/%m/%d}/{name}"'


class Layout(Value, frozen=True):
    """How names become names at the destination. ``mirror`` keeps them as they are."""

    text: str = MIRROR

    @property
    def mirrors(self) -> bool:
        """Say whether every file keeps its path, so that no two can meet."""
        return self.text == MIRROR

    def place(self, path: str, mtime_ns: int) -> str:
        """Return the path at the destination; the same for every try of one version. It is not checked."""
        if self.mirrors:
            return path
        if self.text == "flatten":
            return path.rpartition("/")[2]
        strip = _STRIP.fullmatch(self.text)
        if strip:
            parts = path.split("/")
            return "/".join(parts[min(int(strip[1]), len(parts) - 1) :])
        return _filled(self.text, path, mtime_ns)


def parse_layout(text: str) -> Layout:
    """Read a layout or raise UsageError."""
    text = text.strip()
    if text in (MIRROR, "flatten") or _STRIP.fullmatch(text):
        return Layout(text)
    if "{" not in text:
        raise UsageError(f"{text!r} is not a layout", hint=_HINT)
    rest = _FIELD.sub("", text)
    if "{" in rest or "}" in rest:
        raise UsageError(f"{text!r} has a brace that belongs to nothing", hint=_HINT)
    for field, form in _FIELD.findall(text):
        if field not in FIELDS or (form and field != "mtime"):
            raise UsageError(f"{text!r}: there is no field {{{field}}} like this", hint=f"fields: {', '.join(FIELDS)}")
    if not re.search(r"\{(path|name|stem)\}", text):
        raise UsageError(f"{text!r} gives all files one name", hint="use {name}, {stem} or {path} in it")
    return Layout(text)


def _filled(template: str, path: str, mtime_ns: int) -> str:
    folder, _, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    values: dict[str, Callable[[str], str]] = {
        "path": lambda _: path,
        "folder": lambda _: folder,
        "name": lambda _: name,
        "stem": lambda _: stem if dot and stem else name,
        "suffix": lambda _: f".{suffix}" if dot and stem else "",
        "mtime": lambda form: datetime.fromtimestamp(mtime_ns // 10**9, UTC).strftime(form or "%Y%m%dT%H%M%S"),
    }
    filled = _FIELD.sub(lambda found: values[found[1]](found[2] or ""), template)
    return "/".join(part for part in filled.split("/") if part)
