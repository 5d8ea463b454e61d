"""Runs a module of the fault tests in a process of its own: the injector never shares one with the oracle."""

import os
import sys
from pathlib import Path

from tests.servers.process import Process

ROOT = Path(__file__).parents[2]


def own_process(module: str, arguments: list[str], log: Path) -> Process:
    """Prepare ``python -m tests.faults.MODULE ARGUMENTS``; the caller starts and stops it."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return Process([sys.executable, "-m", f"tests.faults.{module}", *arguments], log, env)
