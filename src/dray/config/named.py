"""Tables with names of their own in the settings, ``[hot.NAME]``: from files alone, with ``${VAR}`` in their texts."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dray.config.convert import Given, Origin, section
from dray.config.settings import Hot
from dray.errors import UsageError

NAMED = "hot"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def fields() -> dict[str, msgspec.structs.FieldInfo]:
    """Return the keys of such a table."""
    return {field.name: field for field in msgspec.structs.fields(Hot)}


def from_table(tables: Mapping[str, Any], path: str, environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    """Yield what a file says below ``[hot]`` as ``hot.NAME.key``."""
    for name, table in tables.items():
        where = f"{NAMED}.{name}"
        if not isinstance(table, dict):
            raise UsageError(f"{where!r} stands outside a table", item=path, hint=f"write it below [{NAMED}.NAME]")
        if not _NAME.fullmatch(name):
            raise UsageError(f"[{where}]: not a name", item=path, hint="letters, digits, - and _, at most 64")
        for key, value in table.items():
            if key not in fields():
                raise UsageError(f"unknown setting '{where}.{key}'", item=path, hint=_did_you_mean(key))
            filled = _filled(value, environ, f"{where}.{key}", path)
            yield f"{where}.{key}", Given(filled, Origin("file", path), True)


def build(given: Mapping[str, Given]) -> dict[str, Hot]:
    """Make the tables of what all files say, or raise UsageError for one that lacks something."""
    found: dict[str, Origin] = {}
    for key, one in given.items():
        if key.startswith(f"{NAMED}."):
            found.setdefault(key.split(".")[1], one.origin)
    return {name: _table(name, origin, given) for name, origin in found.items()}


def _table(name: str, origin: Origin, given: Mapping[str, Given]) -> Hot:
    where = f"{NAMED}.{name}"
    for key, field in fields().items():
        if field.required and f"{where}.{key}" not in given:
            raise UsageError(f"[{where}] has no {key!r}", item=str(origin), hint=_example(name))
    made: Hot = section(where, Hot, given)
    return made


def _example(name: str) -> str:
    return f'three lines do: [{NAMED}.{name}], path = "~/to_cluster", to = "sftp://cluster/from_lab"'


def _filled(value: Any, environ: Mapping[str, str], key: str, path: str) -> Any:
    """Put values of the environment into texts."""
    if isinstance(value, list):
        return [_filled(one, environ, key, path) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, environ, key, path) for name, one in value.items()}
    if not isinstance(value, str):
        return value

    def of(found: re.Match[str]) -> str:
        if found[1] not in environ:
            hint = "a service has an environment of its own: see `dray service show`"
            raise UsageError(f"{key} = {value!r}: ${{{found[1]}}} is not set", item=f"file {path}", hint=hint)
        return environ[found[1]]

    return _VARIABLE.sub(of, value)


def _did_you_mean(key: str) -> str:
    close = difflib.get_close_matches(key, fields(), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(fields())}"
