"""Writes docs/cli.md, docs/settings.md and docs/output.schema.json from the code: ``python -m dray.cli.reference DIR``.

A test says when the files in the repository are stale.
"""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click
import msgspec

from dray.cli.command import CommonOption, DrayCommand, DrayGroup, common_options
from dray.cli.exits import MEANINGS
from dray.cli.gauge import OutcomeEvent
from dray.cli.group import ROOT_EXAMPLES, load
from dray.cli.meter import Reading
from dray.cli.table import SECTIONS, Entry
from dray.config import load as loading
from dray.config import named
from dray.config.settings import Broker, Settings

MADE = "<!-- Made by python -m dray.cli.reference; change the code, not this page. -->"


def pages() -> dict[str, str]:
    """Return the content of every generated page by its name."""
    return {
        "cli.md": "\n".join(cli_page()) + "\n",
        "settings.md": "\n".join(settings_page()) + "\n",
        "output.schema.json": json.dumps(schema(), indent=1) + "\n",
    }


def cli_page() -> Iterator[str]:
    """Yield the page about the command line."""
    yield from ("# The command line", "", MADE, "")
    yield from _fenced(ROOT_EXAMPLES)
    yield from CONVENTIONS.splitlines()
    yield from ("", "## Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {code} | {meaning} |" for code, meaning in MEANINGS.items())
    yield from ("", "## Options of every command", "", "| option | meaning |", "|---|---|")
    yield from (_option(option) for option in common_options())
    for section in SECTIONS:
        yield from ("", f"## {section.title}")
        for entry in section.entries:
            yield from _command(load(entry), f"dray {entry.name}")


CONVENTIONS = """
Results go to stdout, messages and progress to stderr. `--json` prints one document, `--jsonl` an event a line while
things happen; both carry `"v": 1`, and their shapes are in [output.schema.json](output.schema.json). A failure says
which file, why and what next; with `--json` or `--jsonl` it is one JSON line on stderr. There is no colour and no bar
off a terminal; `NO_COLOR` is honoured.

An address is `http(s)://server[/prefix]/DATASET[/path]`. Where the settings name a server, `DATASET[/path]` is
enough. A token is sent to no other server than its own: `DRAY_TOKEN` and `client.token_file` belong to the server of
the settings, `dray login` stores one a server.

The first Ctrl-C lets what runs finish and ends; the second stops at once. Either way running the same command
again goes on from the last durable byte.
"""


def _command(command: click.Command, path: str) -> Iterator[str]:
    yield from ("", f"### {path}", "")
    yield cleandoc(command.help or "")
    if isinstance(command, DrayGroup):
        for name, sub in command.commands.items():
            yield from _command(sub, f"{path} {name}")
    else:
        yield from _usage(command, path)


def _usage(command: click.Command, path: str) -> Iterator[str]:
    pieces = " ".join(command.collect_usage_pieces(click.Context(command)))
    examples = command.examples if isinstance(command, DrayCommand) else ()
    yield ""
    yield from _fenced((f"{path} {pieces}", "", *examples))
    own = [p for p in command.params if isinstance(p, click.Option) and not isinstance(p, CommonOption)]
    if own:
        yield from ("", "| option | meaning |", "|---|---|", *map(_option, own))


def _fenced(lines: tuple[str, ...]) -> Iterator[str]:
    yield from ("```", *(line.rstrip() for line in lines), "```")


def _option(option: click.Option) -> str:
    names, meaning = option.get_help_record(click.Context(click.Command("dray"))) or ("", "")
    return f"| `{_cell(names)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("``", "`").split())


def settings_page() -> Iterator[str]:
    """Yield the page about the settings."""
    yield from ("# Settings", "", MADE)
    yield from LAYERS.splitlines()
    for name, section in loading.sections().items():
        yield from ("", f"## [{name}]", "", _cell(section.__doc__ or ""), "")
        yield from ("| setting | default | environment | meaning |", "|---|---|---|---|")
        yield from (_setting(f"{name}.{field.name}") for field in msgspec.structs.fields(section))
    yield from HOT.splitlines()
    yield from map(_hot_setting, named.fields().values())
    yield from BROKER.splitlines()
    yield from map(_hot_setting, msgspec.structs.fields(Broker))


LAYERS = """
A value comes from the first of these that has it: an option of the command, the environment, the user's file, the
file of the system (`/etc/dray/config.toml`; `%PROGRAMDATA%\\dray\\config.toml`), the default. `dray config path` says
where the user's file is (`--config` and `DRAY_CONFIG` name another one), `dray config show --origin` where each value
comes from, `dray config check` reads everything and finds mistakes.

Files are TOML. Sizes are written `10M`, `1GiB` (`K M G T` and `KiB MiB GiB TiB` count by 1024, `KB MB GB TB` by
1000), spans of time `2s`, `10m`, `1h30m`, rates `10M` (a second) or `off`, a timetable of rates `08:00,10M
18:00,off`. In the environment the items of a list are separated by `;`. `DRAY_URL` is short for `DRAY_CLIENT_URL`.

Secrets are never settings: they are in files that their owner alone can read, named by `*_file`, or a token is in
`DRAY_TOKEN`.
"""


HOT = """
## [hot.NAME]

One hot directory; write as many as you like. They come from files alone, and `${VAR}` in a text is taken from the
environment. Three lines do:

```toml
[hot.to_cluster]
path = "~/to_cluster"
to = "sftp://cluster/from_lab"
```

| setting | default | meaning |
|---|---|---|
"""


BROKER = """
## [hot.NAME.broker]

Where a hot directory is told of files by a message broker, or tells it of files, as Sarracenia does; see
[howto/broker.md](howto/broker.md).

| setting | default | meaning |
|---|---|---|
"""


def _hot_setting(field: msgspec.structs.FieldInfo) -> str:
    default = None if field.required else loading.plain(_default(field))
    text = "must be given" if field.required else f"`{default}`" if default not in (None, []) else "-"
    return f"| `{field.name}` | {text} | {_cell(loading.meaning(field))} |"


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _setting(key: str) -> str:
    default = loading.plain(loading.value_of(Settings(), key))
    text = f"`{default}`" if default not in (None, []) else "-"
    meaning = _cell(loading.meaning(loading.keys()[key]))
    return f"| `{key}` | {text} | `{loading.variable(key)}` | {meaning} |"


def schema() -> dict[str, Any]:
    """Return the JSON schema of what --json and --jsonl print, by the name of the kind or event."""
    kinds = {"progress": Reading, "file.outcome": OutcomeEvent, **declared()}
    found, components = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What dray prints with --json and --jsonl, version 1",
        "$comment": "--json: {v, kind, data} or {v, kind, items, data?}; --jsonl: {v, t, event} and the members below",
        "kinds": dict(zip(sorted(kinds), [one for _, one in sorted(zip(kinds, found, strict=True))], strict=True)),
        "$defs": components,
    }


def declared() -> dict[str, type]:
    """Return the kinds that the modules of the commands declare as OUTPUT."""
    entries: list[Entry] = [entry for section in SECTIONS for entry in section.entries]
    modules = [import_module(f"dray.cli.commands.{entry.target.partition(':')[0]}") for entry in entries]
    return {kind: cls for module in modules for kind, cls in getattr(module, "OUTPUT", {}).items()}


def main() -> None:
    """Write the pages into the directory that is named."""
    for name, text in pages().items():
        (Path(sys.argv[1]) / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
