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


def reap(data: Path) -> None:
    """Sweep in a process of its own."""
    command = [sys.executable, "-m", "tests.faults.reaper", str(data)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)
    assert done.returncode == 0, done.stderr


async def sweep(data: str) -> None:
    """Do what the worker's sweep does."""
    from dray.clock import SystemClock
    from dray.config.settings import Server, Settings
    from dray.model.queue import SweepTask, Work
    from dray.wiring.base import open_base
    from dray.wiring.worker import handlers
    from dray.work.steps import Claim

    class Later(SystemClock):
        def wall(self) -> float:
            return super().wall() + LATER

    async with open_base(Settings(server=Server(data=data))) as base:
        later = Later()
        handler = handlers(dataclasses.replace(base, clock=later))["sweep"]
        await handler.step(Claim([Work(0, 0, SweepTask())], later.monotonic() + 60, later.monotonic))


if __name__ == "__main__":
    asyncio.run(sweep(sys.argv[1]))
