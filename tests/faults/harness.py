"""A server that is started in a blink, with one thread a pool: ``python -m tests.faults.harness``.

Hitting hundreds of points needs hundreds of starts, and starting is mostly importing. This process imports the
product once and forks a child for each start; the child runs the command line as it is. The only difference to a
user's server: every thread pool has one thread, so that the n-th call of a thread is the same call each time.

Orders come by stdin, one JSON document a line: ``argv``, ``env``, ``log``, ``control``, ``hold``, or ``reap`` with a
data directory to be swept. Answers: ``pid`` when
the child runs, ``ended`` (wait status) when it is gone. A child answers the numbers of its threads by name on
the Unix socket ``control``; with ``hold`` it does nothing else before it was asked for them once.
"""

import asyncio
import concurrent.futures
import concurrent.futures.thread
import ctypes
import importlib
import json
import os
import pkgutil
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from tests.faults.reaper import sweep

PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)


WANTED = tuple(
    f"dray.{name}" for name in ("api", "web", "work", "core", "state", "transports", "model", "config", "wiring")
)


class OneThread(concurrent.futures.thread.ThreadPoolExecutor):
    """A pool with one thread, whatever was asked for."""

    def __init__(self, max_workers: int | None = None, *arguments: Any, **options: Any) -> None:
        super().__init__(1, *arguments, **options)


def preload() -> None:
    """Import everything that a server, its pages or its clients may want."""
    import dray

    for found in pkgutil.walk_packages(dray.__path__, "dray."):
        if found.name.startswith(WANTED) and not found.name.startswith("dray.state.migrations."):
            importlib.import_module(found.name)
    for name in ("main", "serving", "commands.up", "commands.watch", "commands.download"):
        importlib.import_module(f"dray.cli.{name}")


def serve() -> None:
    """Fork a child for every order and wait for its end."""
    concurrent.futures.thread.ThreadPoolExecutor = OneThread  # type: ignore[misc]
    concurrent.futures.ThreadPoolExecutor = OneThread  # type: ignore[misc]
    preload()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(run(order))
        print(json.dumps({"pid": child}), flush=True)
        print(json.dumps({"ended": os.waitpid(child, 0)[1]}), flush=True)


def run(order: dict[str, Any]) -> int:
    """Be the server (or the reaper), in a session of its own."""
    from dray.cli.main import main

    os.setsid()
    if "reap" in order:
        asyncio.run(sweep(order["reap"]))
        return 0
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["env"])
    go = answer_threads(order["control"])
    if order["hold"]:
        go()
    try:
        return int(main(order["argv"]) or 0)
    except SystemExit as ended:
        return int(ended.code or 0)


def answer_threads(path: str) -> Callable[[], object]:
    """Answer the numbers of this process's threads; returns what waits until they were asked for."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    asked = threading.Event()
    mine = threading.Thread(target=answer, args=(listener, asked), name="control", daemon=True)
    mine.start()
    return asked.wait


def answer(listener: socket.socket, asked: threading.Event) -> None:
    """Write the threads, then wait for one byte: now the asker is ready for what comes."""
    while True:
        connection, _ = listener.accept()
        with connection:
            threads = [(thread.name, thread.native_id) for thread in threading.enumerate() if thread.name != "control"]
            connection.sendall(json.dumps(threads).encode() + b"\n")
            connection.recv(1)
        asked.set()


if __name__ == "__main__":
    serve()
