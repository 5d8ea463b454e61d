"""Runs the product's own sweep once, as if two days had passed, on a data directory that no server has open.

Leftovers that a server removes after hours must be gone when the oracle looks for orphans.
"""

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from tests.faults.own import ROOT

LATER = 2 * 86400.0


def reap(data: Path, url_file: str | None = None) -> None:
    """Sweep in a process of its own; ``url_file`` names the database when it is not in the directory."""
    command = [sys.executable, "-m", "tests.faults.reaper", str(data), *([url_file] if url_file else [])]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)
    assert done.returncode == 0, done.stderr


async def sweep(data: str, url_file: str | None = None) -> None:
    """Do what the worker's sweep does."""
    from dray.clock import SystemClock
    from dray.config.settings import Database, Server, Settings
    from dray.model.queue import SweepTask, Work
    from dray.wiring.base import open_base
    from dray.wiring.worker import handlers
    from dray.work.steps import Claim

    class Later(SystemClock):
        def wall(self) -> float:
            return super().wall() + LATER

    settings = Settings(server=Server(data=data), database=Database(url_file=url_file))
    async with open_base(settings) as base:
        later = Later()
        handler = handlers(dataclasses.replace(base, clock=later))["sweep"]
        await handler.step(Claim([Work(0, 0, SweepTask())], later.monotonic() + 60, later.monotonic))


if __name__ == "__main__":
    asyncio.run(sweep(*sys.argv[1:]))
