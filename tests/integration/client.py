"""The commands of the client, run in this process against a real server in another."""

import io
import itertools
import json
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dray.cli.context import App
from dray.cli.main import main
from tests.servers.dray import DrayServer

_NUMBERS = itertools.count(1)


class Ended(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def kinds(self) -> dict[str, str]:
        """What the document of upload or download says of each path."""
        return {item["path"]: item["kind"] for item in self.document["items"]}


class Client:
    """A user with a home and a dataset of their own."""

    def __init__(self, server: DrayServer, base: Path, patch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.home = base / "home"
        self.home.mkdir()
        self.dataset = f"set-{os.getpid()}-{next(_NUMBERS)}"
        self.url = f"{server.url}/{self.dataset}"
        for name in [name for name in os.environ if name.startswith(("DRAY_", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(self.home))
        patch.chdir(self.home)

    @property
    def store(self) -> Path:
        return self.server.data / "store" / self.dataset

    def run(self, *args: str | Path) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        environ = {"DRAY_URL": self.server.url, "DRAY_TOKEN": self.server.token, "HOME": str(self.home)}
        code = main([str(arg) for arg in args], App(environ, out, err))
        return Ended(code, out.getvalue(), err.getvalue())

    def upload(self, *paths: str | Path, to: str = "", options: tuple[str, ...] = ("--json",)) -> Ended:
        return self.run("upload", *paths, f"{self.url}{to}", *options)

    def write(self, name: str, content: bytes) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
