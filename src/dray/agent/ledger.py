"""The one thread that owns a journal: calls are gathered, and a group of them shares one durable commit."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from dray.agent.journal import Journal, translated
from dray.errors import Busy, DrayError
from dray.fs import failure

R = TypeVar("R")

GROUP = 64
"""Most calls that share a commit."""


class _Call(Generic[R]):
    def __init__(self, work: Callable[[Journal], R]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[R] = self.loop.create_future()
        self.result: R | None = None
        self.error: BaseException | None = None

    def run(self, journal: Journal) -> None:
        try:
            with journal.part():
                self.result = self.work(journal)
        except Exception as error:
            self.error = error
            if not journal.inside:
                raise

    def finish(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(cast(R, self.result))


class Ledger:
    """Runs functions of the journal in its thread, in order. Open it with ``async with``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> "Ledger":
        """Open the journal; nobody else may have it open with a ledger."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(target=self._serve, args=(opened,), name="journal", daemon=True)
        self._thread.start()
        await opened
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what was asked for and close."""
        self._calls.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def run(self, work: Callable[[Journal], R]) -> R:
        """Return what ``work`` returns, once it is committed.

        A call that raises leaves nothing behind and does not harm the others of its group; a commit that fails
        fails the whole group.
        """
        call = _Call(work)
        self._calls.put(call)
        return await asyncio.shield(call.future)

    def _serve(self, opened: asyncio.Future[None]) -> None:
        loop = opened.get_loop()
        try:
            with alone(self._path):
                journal = Journal(self._path)
                loop.call_soon_threadsafe(opened.set_result, None)
                self._work(journal)
                journal.close()
        except DrayError as error:
            loop.call_soon_threadsafe(opened.set_exception, error)
        except OSError as error:
            loop.call_soon_threadsafe(opened.set_exception, failure(error, str(self._path)))

    def _work(self, journal: Journal) -> None:
        open_ = True
        while open_:
            group, open_ = self._gather()
            self._commit(journal, group)

    def _gather(self) -> tuple[list[_Call[Any]], bool]:
        group: list[_Call[Any]] = []
        call = self._calls.get()
        while call is not None:
            group.append(call)
            if len(group) == GROUP or self._calls.empty():
                return group, True
            call = self._calls.get()
        return group, False

    def _commit(self, journal: Journal, group: list[_Call[Any]]) -> None:
        if not group:
            return
        try:
            with journal.transaction():
                for call in group:
                    call.run(journal)
        except Exception as error:
            for call in group:
                call.error = call.error or error
        for call in group:
            call.loop.call_soon_threadsafe(call.finish)


@contextmanager
def alone(path: Path, refusal: str = "another agent looks after this directory") -> Iterator[None]:
    """Hold what ``path`` names for this process alone, until it ends in whatever way; raises Busy."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with translated(lock):
        held = sqlite3.connect(lock, isolation_level=None, timeout=0)
    with closing(held):
        _lock(held, lock, refusal)
        yield


def _lock(held: sqlite3.Connection, lock: Path, refusal: str) -> None:
    with translated(lock):
        try:
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise Busy(refusal, item=str(lock), hint="let it, or stop it") from None
