"""Turns what a layer says into the type of its setting."""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args

import msgspec

from dray.config.parse import Seconds, Size, Timetable, parse_duration, parse_size, parse_timetable
from dray.config.settings import Section
from dray.errors import UsageError

PARSERS: dict[type, Callable[[str], object]] = {
    Size: parse_size,
    Seconds: parse_duration,
    Timetable: parse_timetable,
}
"""Types that are written as text in every layer."""


class Origin(msgspec.Struct, frozen=True):
    """Where a value comes from: ``kind`` and the file, variable or option."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


class Given(msgspec.Struct, frozen=True):
    """A raw value of one layer; texts are converted (environment, flags), TOML values keep their type."""

    value: Any
    origin: Origin
    strict: bool


def section(name: str, cls: type[Section], given: Mapping[str, Given]) -> Any:
    """Make a section of what was given for its keys."""
    values = {}
    for field in msgspec.structs.fields(cls):
        one = given.get(f"{name}.{field.name}")
        if one:
            values[field.name] = convert(f"{name}.{field.name}", field, one)
    return cls(**values)


def convert(key: str, field: msgspec.structs.FieldInfo, one: Given) -> Any:
    """Return the value of one setting, or raise UsageError that names it."""
    try:
        return _typed(key, field.type, one)
    except (msgspec.ValidationError, UsageError) as error:
        if getattr(error, "item", ""):
            raise
        hint = getattr(error, "hint", "") or "docs/settings.md lists what it takes"
        reason = getattr(error, "message", "") or str(error)
        raise UsageError(f"{key} = {one.value!r}: {reason}", item=str(one.origin), hint=hint) from error


def bare(kind: Any) -> Any:
    """Return the type that stands below annotations and beside None."""
    kind = getattr(kind, "__origin__", kind)
    others = [one for one in get_args(kind) if one is not NoneType]
    return others[0] if NoneType in get_args(kind) and len(others) == 1 else kind


def _typed(key: str, kind: Any, one: Given) -> Any:
    found = bare(kind)
    if found in PARSERS:
        return PARSERS[found](str(one.value))
    if isinstance(found, type) and issubclass(found, Section):
        return _table(key, found, one)
    listed = getattr(found, "__origin__", found) is list
    value = _split(one.value) if listed and not one.strict else one.value
    return msgspec.convert(value, kind, strict=one.strict and found is not float)


def _table(key: str, cls: type[Section], one: Given) -> Any:
    """Read a table inside a section."""
    if not isinstance(one.value, dict):
        raise UsageError("a table is needed", hint='write for example { above = "1GiB", command = "..." }')
    names = {field.name for field in msgspec.structs.fields(cls)}
    for name in one.value:
        if name not in names:
            raise UsageError(f"it has no key {name!r}", hint=f"it takes {', '.join(sorted(names))}")
    missing = [f.name for f in msgspec.structs.fields(cls) if f.required and f.name not in one.value]
    if missing:
        raise UsageError(f"it lacks {missing[0]!r}", hint="docs/settings.md lists what it takes")
    return section(key, cls, {f"{key}.{name}": Given(v, one.origin, one.strict) for name, v in one.value.items()})


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]
