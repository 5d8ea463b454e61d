"""Runs a server: everything in one process, or API and worker apart."""

import asyncio
import socket

from dray.api.server import listen
from dray.config.settings import Settings
from dray.wiring.base import open_base
from dray.wiring.process import Say, Stop
from dray.wiring.site import serve_until
from dray.wiring.worker import work_until


async def run_up(settings: Settings, say: Say, stop: Stop) -> None:
    """Run everything in this process until ``stop``."""
    listening = _listen(settings)
    async with open_base(settings) as base, asyncio.TaskGroup() as group:
        group.create_task(serve_until(base, listening, say, stop))
        group.create_task(work_until(base, stop.event))


async def run_serve(settings: Settings, say: Say, stop: Stop) -> None:
    """Run the API and the web pages alone."""
    listening = _listen(settings)
    async with open_base(settings) as base:
        await serve_until(base, listening, say, stop)


async def run_worker(settings: Settings, say: Say, stop: Stop) -> None:
    """Run a worker alone."""
    async with open_base(settings) as base:
        say(f"working on {base.home.path}")
        await work_until(base, stop.event)


def _listen(settings: Settings) -> socket.socket:
    """Take the port before anything else: a second server on it fails before it touches the data."""
    host, _, port = settings.server.listen.rpartition(":")
    return listen(host.strip("[]"), int(port))
