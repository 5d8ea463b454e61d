"""Reads the settings from their layers: flag > environment > user file > system file > default."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dray.config import named, paths
from dray.config.convert import Given, Origin, section
from dray.config.settings import Section, Settings
from dray.errors import NotFound, UsageError

SHORT_NAMES = {"DRAY_URL": "client.url"}
"""Environment names beside ``DRAY_<SECTION>_<KEY>``."""

NOT_SETTINGS = {"DRAY_TOKEN", "DRAY_CONFIG", "DRAY_AGENT"}
"""Environment names that are read elsewhere."""


Plain = int | str | list[str] | None


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


def load(environ: Mapping[str, str], *, flags: Mapping[str, str] | None = None, file: str | None = None) -> Loaded:
    """Read every layer and return the settings; the first mistake is a UsageError that names its place.

    ``flags`` maps ``section.key`` to a text; ``file`` stands for the user's own file and has to exist.
    """
    files = _files(environ, file)
    given: dict[str, Given] = {}
    for path in files:
        given.update(_from_file(path, environ))
    given.update(_from_environment(environ))
    given.update({key: Given(text, Origin("option", key), False) for key, text in (flags or {}).items()})
    settings = _build(given)
    _refuse_password(settings, given)
    return Loaded(settings, {key: one.origin for key, one in given.items()}, files, tuple(_odd_names(environ)))


@cache
def keys() -> dict[str, msgspec.structs.FieldInfo]:
    """Return every setting as ``section.key``."""
    return {
        f"{name}.{field.name}": field for name, kind in sections().items() for field in msgspec.structs.fields(kind)
    }


def sections() -> dict[str, type[Section]]:
    """Return the sections that everybody has; ``[hot.NAME]`` are as many as somebody writes."""
    return {one.name: one.type for one in msgspec.structs.fields(Settings) if one.name != named.NAMED}


def variable(key: str) -> str:
    """Return the environment name of a key."""
    return f"DRAY_{key.replace('.', '_').upper()}"


def value_of(settings: Settings, key: str) -> object:
    """Return the value of ``section.key``."""
    where, _, name = key.rpartition(".")
    holder = settings.hot[where.partition(".")[2]] if where.startswith(f"{named.NAMED}.") else getattr(settings, where)
    return getattr(holder, name)


def plain(value: object) -> Plain:
    """Return a value as it is written in a file: texts, numbers and lists of texts."""
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, Section):
        return "; ".join(f"{name} = {plain(one)}" for name, one in msgspec.structs.asdict(value).items())
    return value if value is None or type(value) is int else str(value)


def meaning(field: msgspec.structs.FieldInfo) -> str:
    """Return what a setting means."""
    return next(str(meta.description) for meta in field.type.__metadata__ if meta.description)


def _files(environ: Mapping[str, str], file: str | None) -> tuple[Path, ...]:
    wanted = file or environ.get("DRAY_CONFIG")
    user = paths.user_config_file(environ, file)
    if wanted and not user.is_file():
        raise NotFound("there is no such settings file", item=str(user), hint="check --config and DRAY_CONFIG")
    return tuple(path for path in (paths.system_config_file(), user) if path.is_file())


def _from_file(path: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    for title, table in _parse(path).items():
        if not isinstance(table, dict):
            raise UsageError(f"{title!r} stands outside a section", item=str(path), hint=_did_you_mean_key(title))
        if title == named.NAMED:
            yield from named.from_table(table, str(path), environ)
            continue
        for name, value in table.items():
            key = f"{title}.{name}"
            if key not in keys():
                raise UsageError(f"unknown setting {key!r}", item=str(path), hint=_did_you_mean(key))
            yield key, Given(value, Origin("file", str(path)), True)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not valid TOML: {error}", item=str(path)) from error


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    names = {**SHORT_NAMES, **{variable(key): key for key in keys()}}
    for name, key in names.items():
        if environ.get(name):
            yield key, Given(environ[name], Origin("environment", name), False)


def _odd_names(environ: Mapping[str, str]) -> Iterator[str]:
    known = {variable(key) for key in keys()} | set(SHORT_NAMES) | NOT_SETTINGS
    for name in sorted(environ):
        if name.startswith("DRAY_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _build(given: Mapping[str, Given]) -> Settings:
    found = {name: section(name, kind, given) for name, kind in sections().items()}
    return Settings(**found, hot=named.build(given))


def _refuse_password(settings: Settings, given: Mapping[str, Given]) -> None:
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
