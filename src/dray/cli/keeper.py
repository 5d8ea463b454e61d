"""Being the agent: in the foreground, for a service manager, or started in the background by ``dray start``."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dray import telemetry
from dray.cli import console
from dray.cli.context import App
from dray.cli.reach import reach
from dray.client.address import Place
from dray.client.rate import Rate
from dray.clock import SystemClock
from dray.config.load import DEFAULT, Loaded, load
from dray.config.settings import Log
from dray.transports.base import Session
from dray.wiring.agent import Household, run_agent
from dray.wiring.client import Options, Waiting
from dray.wiring.control import control
from dray.wiring.process import Stop, run
from dray.wiring.watch import destination


@dataclass(frozen=True)
class Signed:
    """Signs in to Dray servers as this user; anew each time, so that a new token counts."""

    app: App

    async def place(self, to: str) -> Place:
        """See ``Servers``."""
        async with reach(self.app, to) as there:
            return there.dataset()

    @asynccontextmanager
    async def dataset(self, to: str, options: Options, rate: Rate, waiting: Waiting) -> AsyncIterator[Session]:
        """See ``Servers``."""
        async with (
            reach(self.app, to, rate, options.parallel) as there,
            destination(there.api, there.dataset(), options, SystemClock(), waiting) as session,
        ):
            yield session


def keep(app: App, detached: bool) -> int:
    """Be the agent until told to end; return the exit code."""
    with control().held():
        _log(app, detached)
        return run(partial(_life, app), app.display.note)


async def _life(app: App, stop: Stop) -> None:
    household = Household(partial(_load, app), Signed(app), SystemClock())
    await run_agent(household, partial(_files, app), stop.event)


def _load(app: App) -> Loaded:
    return load(app.environ, flags=app.choices.flags(), file=app.choices.config)


def _files(app: App) -> tuple[Path, ...]:
    """Return the settings files as they were when the agent began: more of them take a restart."""
    return app.loaded.files


def _log(app: App, detached: bool) -> None:
    """Write the log of the agent, with every delivery unless the settings say otherwise."""
    log: Log = app.settings.log
    level = "info" if app.loaded.origin("log.level") == DEFAULT else log.level
    file = telemetry.LogFile(log.file or str(control().log), log.rotate_size, log.rotate_keep)
    stream = open(os.devnull, "w", encoding="utf-8") if detached else app.err  # noqa: SIM115
    telemetry.set_up(level, log.format, stream=stream, journal=console.journaled(app.err, app.environ), file=file)
