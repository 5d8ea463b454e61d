"""``dray config``: show, locate and check the settings."""

from pathlib import Path

import click
import msgspec

from dray.cli.command import define, define_group
from dray.cli.context import App
from dray.cli.credentials import Credentials
from dray.cli.display import Column
from dray.cli.exits import OK, PARTIAL
from dray.config import load, named, paths
from dray.config.load import Plain
from dray.config.secrets import read_secret
from dray.errors import NotFound


class Setting(msgspec.Struct, frozen=True):
    """One setting with its value and where that comes from."""

    key: str
    value: Plain
    origin: str
    variable: str
    meaning: str


@define("show", examples=("dray config show", "dray config show --origin", "dray config show client.url"))
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def show(app: App, keys: tuple[str, ...], origin: bool) -> None:
    """Show the settings that are in force; KEY is section.name or a section."""
    columns = [Column("setting", "key"), Column("value", lambda setting: _text(setting.value))]
    app.display.rows("setting", _chosen(app, keys), [*columns, Column("origin", "origin")] if origin else columns)


def _chosen(app: App, keys: tuple[str, ...]) -> list[Setting]:
    found = [one for one in _settings(app) if not keys or one.key in keys or one.key.partition(".")[0] in keys]
    if not found:
        raise NotFound("there is no such setting", item=" ".join(keys), hint="dray config show lists every setting")
    return found


def _settings(app: App) -> list[Setting]:
    loaded = app.loaded
    return [
        Setting(
            key=key,
            value=load.plain(load.value_of(loaded.settings, key)),
            origin=str(loaded.origin(key)),
            variable=_variable(key),
            meaning=load.meaning(field),
        )
        for key, field in _keys(loaded).items()
    ]


def _keys(loaded: load.Loaded) -> dict[str, msgspec.structs.FieldInfo]:
    hot = {f"hot.{name}.{key}": field for name in loaded.settings.hot for key, field in named.fields().items()}
    return {**load.keys(), **hot}


def _variable(key: str) -> str:
    return "" if key.startswith("hot.") else load.variable(key)


def _text(value: Plain) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


class Place(msgspec.Struct, frozen=True):
    """A file or directory that Dray uses, and whether it is there."""

    use: str
    path: str
    exists: bool


@define("path", examples=("dray config path",), needs_settings=False)
def path(app: App) -> None:
    """Show where settings, stored tokens, state and cache are."""
    places = {
        "settings of the system": paths.system_config_file(),
        "settings of the user": paths.user_config_file(app.environ, app.choices.config),
        "stored tokens": Credentials().path,
        "state": paths.user_state_dir(),
        "cache": paths.user_cache_dir(),
    }
    rows = [Place(use, str(path), path.exists()) for use, path in places.items()]
    columns = [Column("use", "use"), Column("path", "path"), Column("", lambda p: "" if p.exists else "(not there)")]
    app.display.rows("place", rows, columns)


class Verdict(msgspec.Struct, frozen=True):
    """The outcome of a check of the settings."""

    files: list[str]
    warnings: list[str]


@define("check", examples=("dray config check", "dray config check --config new.toml"), needs_settings=False)
def check(app: App) -> int:
    """Read all layers and every secret file they name; exit 2 at the first mistake, 11 for odd names."""
    from dray.wiring.hot import configured

    loaded = app.loaded
    configured(loaded)
    for file in (loaded.settings.client.token_file, loaded.settings.database.url_file):
        if file:
            read_secret(Path(file).expanduser())
    verdict = Verdict([str(file) for file in loaded.files], list(loaded.warnings))
    fields = [
        Column("files", lambda v: ", ".join(v.files) or "none, all defaults"),
        Column("warnings", lambda v: "; ".join(v.warnings) or "none"),
    ]
    app.display.record("config", verdict, fields)
    return PARTIAL if loaded.warnings else OK


OUTPUT = {"setting": Setting, "place": Place, "config": Verdict}

command = define_group(
    "config",
    [show, path, check],
    help="Show, check and locate the settings.",
    examples=("dray config show --origin", "dray config path", "dray config check"),
)
