"""Reads configuration files of MetPX Sarracenia: lines of an option and its value, with includes and variables."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dray.errors import NotFound

COMPONENTS = ("watch", "sender")

_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
DEEPEST = 8
"""Files that include each other, at most."""


@dataclass(frozen=True, slots=True)
class Option:
    """One line: the option, what follows it, and where it stands."""

    name: str
    value: str
    where: str


@dataclass(slots=True)
class Config:
    """One configuration of one component; later lines win, but for rules, whose order counts."""

    component: str
    name: str
    options: list[Option] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def get(self, *names: str) -> str:
        """Return the last value that one of these names was given, or nothing."""
        return next((one.value for one in reversed(self.options) if one.name in names), "")

    def on(self, *names: str, default: bool = False) -> bool:
        """Return a switch."""
        value = self.get(*names).lower()
        return default if not value else value in ("on", "true", "yes", "1")


def read(folder: Path) -> list[Config]:
    """Return every watch and sender below a directory such as ~/.config/sr3. Blocks."""
    if not folder.is_dir():
        raise NotFound("there is no such directory", item=str(folder), hint="name that of sr3, such as ~/.config/sr3")
    return [
        _config(folder, component, path)
        for component in COMPONENTS
        for path in sorted((folder / component).glob("*.conf"))
    ]


def _config(folder: Path, component: str, path: Path) -> Config:
    config = Config(component, path.stem, variables={"HOME": os.path.expanduser("~")})
    for file in (folder / "default.conf", path):
        if file.exists():
            _add(config, folder, file, DEEPEST)
    return config


def _add(config: Config, folder: Path, file: Path, deep: int) -> None:
    for option in _lines(folder, file):
        value = _VARIABLE.sub(lambda found: config.variables.get(found[1], found[0]), option.value)
        if option.name == "declare" and value.startswith("env "):
            name, _, text = value.removeprefix("env ").strip().partition("=")
            config.variables[name] = text
        elif option.name in ("include", "config") and deep:
            inner = next((base / value for base in (file.parent, folder) if (base / value).exists()), None)
            if inner is None:
                config.options.append(option)
            else:
                _add(config, folder, inner, deep - 1)
        else:
            config.options.append(Option(option.name, value, option.where))


def _lines(folder: Path, file: Path) -> Iterator[Option]:
    text = file.read_text("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        name, _, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            yield Option(name, value.partition(" #")[0].strip(), f"{file.relative_to(folder)}:{number}")
