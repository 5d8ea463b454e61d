"""The client side can be imported where fcntl, pwd, os.sendfile and their like do not exist."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
CLIENT_SIDE = [
    "agent",
    "cli",
    "client",
    "clock",
    "config",
    "errors",
    "fs",
    "kernel",
    "messaging",
    "model",
    "moving",
    "telemetry",
    "transports",
]
FOREIGN = "aio_pika click crc32c msgspec platformdirs pycurl rich.console rich.progress rich.table watchfiles"
SCRIPT = Path(__file__).with_name("hidden.py")


def modules_of(part: str) -> list[str]:
    base = SOURCE / "dray" / part
    files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    dotted = (".".join(f.relative_to(SOURCE).with_suffix("").parts) for f in files if f.exists())
    return [name.removesuffix(".__init__") for name in dotted]


def import_hidden(modules: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), FOREIGN, " ".join(modules)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_client_side_imports_without_posix() -> None:
    done = import_hidden([module for part in CLIENT_SIDE for module in modules_of(part)])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["fcntl", "pwd", "uvloop"])
def test_hiding_hides(module: str) -> None:
    done = import_hidden([module])
    assert done.returncode == 1
    assert f"{module}: " in done.stderr
