"""Reads the settings from their layers: flag > environment > user file > system file > default."""

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dray.config import paths
from dray.config.parse import Seconds, Size, Timetable, parse_duration, parse_size, parse_timetable
from dray.config.settings import Section, Settings
from dray.errors import NotFound, UsageError

SHORT_NAMES = {"DRAY_URL": "client.url"}
"""Environment names beside ``DRAY_<SECTION>_<KEY>``."""

PARSERS: dict[type, Callable[[str], object]] = {
    Size: parse_size,
    Seconds: parse_duration,
    Timetable: parse_timetable,
}
"""Types that are written as text in every layer."""

NOT_SETTINGS = {"DRAY_TOKEN", "DRAY_CONFIG"}
"""Environment names that are read elsewhere."""


Plain = int | str | list[str] | None


class Origin(msgspec.Struct, frozen=True):
    """Where a value comes from: ``kind`` and the file, variable or option."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


DEFAULT = Origin("default")


class Loaded(msgspec.Struct, frozen=True):
    """The settings, the origin of every key that is not a default, and what looked odd."""

    settings: Settings
    origins: dict[str, Origin]
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin:
        """Return where the value of ``section.key`` comes from."""
        return self.origins.get(key, DEFAULT)


class _Given(msgspec.Struct, frozen=True):
    """A raw value of one layer; texts are converted (environment, flags), TOML values keep their type."""

    value: Any
    origin: Origin
    strict: bool


def load(environ: Mapping[str, str], *, flags: Mapping[str, str] | None = None, file: str | None = None) -> Loaded:
    """Read every layer and return the settings; the first mistake is a UsageError that names its place.

    ``flags`` maps ``section.key`` to a text; ``file`` stands for the user's own file and has to exist.
    """
    files = _files(environ, file)
    given: dict[str, _Given] = {}
    for path in files:
        given.update(_from_file(path))
    given.update(_from_environment(environ))
    given.update({key: _Given(text, Origin("option", key), False) for key, text in (flags or {}).items()})
    settings = _build(given)
    _refuse_password(settings, given)
    return Loaded(settings, {key: one.origin for key, one in given.items()}, files, tuple(_odd_names(environ)))


@cache
def keys() -> dict[str, msgspec.structs.FieldInfo]:
    """Return every setting as ``section.key``."""
    return {
        f"{section.name}.{field.name}": field
        for section in msgspec.structs.fields(Settings)
        for field in msgspec.structs.fields(section.type)
    }


def variable(key: str) -> str:
    """Return the environment name of a key."""
    return f"DRAY_{key.replace('.', '_').upper()}"


def value_of(settings: Settings, key: str) -> object:
    """Return the value of ``section.key``."""
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)


def plain(value: object) -> Plain:
    """Return a value as it is written in a file: texts, numbers and lists of texts."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return value if value is None or type(value) is int else str(value)


def meaning(field: msgspec.structs.FieldInfo) -> str:
    """Return what a setting means."""
    return next(str(meta.description) for meta in field.type.__metadata__ if meta.description)


def _files(environ: Mapping[str, str], file: str | None) -> tuple[Path, ...]:
    named = file or environ.get("DRAY_CONFIG")
    user = paths.user_config_file(environ, file)
    if named and not user.is_file():
        raise NotFound("there is no such settings file", item=str(user), hint="check --config and DRAY_CONFIG")
    return tuple(path for path in (paths.system_config_file(), user) if path.is_file())


def _from_file(path: Path) -> Iterator[tuple[str, _Given]]:
    for section, table in _parse(path).items():
        if not isinstance(table, dict):
            raise UsageError(f"{section!r} stands outside a section", item=str(path), hint=_did_you_mean_key(section))
        for name, value in table.items():
            key = f"{section}.{name}"
            if key not in keys():
                raise UsageError(f"unknown setting {key!r}", item=str(path), hint=_did_you_mean(key))
            yield key, _Given(value, Origin("file", str(path)), True)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not valid TOML: {error}", item=str(path)) from error


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    names = {**SHORT_NAMES, **{variable(key): key for key in keys()}}
    for name, key in names.items():
        if environ.get(name):
            yield key, _Given(environ[name], Origin("environment", name), False)


def _odd_names(environ: Mapping[str, str]) -> Iterator[str]:
    known = {variable(key) for key in keys()} | set(SHORT_NAMES) | NOT_SETTINGS
    for name in sorted(environ):
        if name.startswith("DRAY_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _build(given: Mapping[str, _Given]) -> Settings:
    sections = {field.name: _section(field.name, field.type, given) for field in msgspec.structs.fields(Settings)}
    return Settings(**sections)


def _section(section: str, cls: type[Section], given: Mapping[str, _Given]) -> Any:
    values = {}
    for field in msgspec.structs.fields(cls):
        one = given.get(f"{section}.{field.name}")
        if one:
            values[field.name] = _convert(f"{section}.{field.name}", field, one)
    return cls(**values)


def _convert(key: str, field: msgspec.structs.FieldInfo, one: _Given) -> Any:
    try:
        return _typed(field.type, one)
    except (msgspec.ValidationError, UsageError) as error:
        hint = getattr(error, "hint", "") or "docs/settings.md lists what it takes"
        reason = getattr(error, "message", "") or str(error)
        raise UsageError(f"{key} = {one.value!r}: {reason}", item=str(one.origin), hint=hint) from error


def _typed(kind: Any, one: _Given) -> Any:
    bare = getattr(kind, "__origin__", kind)
    if bare in PARSERS:
        return PARSERS[bare](str(one.value))
    value = _split(one.value) if bare == list[str] and not one.strict else one.value
    return msgspec.convert(value, kind, strict=one.strict)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _refuse_password(settings: Settings, given: Mapping[str, _Given]) -> None:
    address = settings.database.url or ""
    if "@" in address and ":" in address.partition("://")[2].rpartition("@")[0]:
        raise UsageError(
            "database.url holds a password",
            item=str(given["database.url"].origin),
            hint="put the address into a file of mode 0600 and name it by database.url_file",
        )


def _did_you_mean(key: str) -> str:
    close = difflib.get_close_matches(key, keys(), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "dray config show lists every setting"


def _did_you_mean_key(name: str) -> str:
    found = next((key for key in keys() if key.endswith(f".{name}")), None)
    section, _, key = (found or "client.url").partition(".")
    return f"write it below [{section}] as {key if found else 'a key'}"
