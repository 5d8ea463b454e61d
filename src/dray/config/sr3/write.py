"""Writes hot directories as TOML."""

import json
from collections.abc import Iterator, Mapping

from dray.config.sr3.convert import Imported, Value


def toml(imported: Imported) -> Iterator[str]:
    """Yield the lines of a settings file; what was not understood is in its comments."""
    yield "# Made by `dray import-sr3`. Passwords of brokers belong into a file of mode 0600, named by password_file."
    for one in imported.missed:
        yield f"# not taken over: {one.where} {one.option} ({one.why})"
    for hot in imported.hot:
        yield from ("", f"# {hot.comment}", f"[hot.{hot.name}]", *_table(hot.values))
        if hot.broker:
            yield from (f"[hot.{hot.name}.broker]", *_table(hot.broker))


def _table(values: Mapping[str, Value]) -> Iterator[str]:
    return (f"{key} = {_value(value)}" for key, value in values.items())


def _value(value: Value) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # What JSON escapes TOML reads alike.
    return json.dumps(value, ensure_ascii=False)
