"""Parts on their way in, when something ends them in the middle."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from crc32c import crc32c

from dray.api.receiving import PartUpload, entered
from dray.api.services import Services
from dray.api.slots import Slots
from dray.api.store import Store
from dray.core.access import Principal
from dray.core.uploads import UploadTarget
from dray.errors import Conflict
from dray.model.names import RemotePath
from dray.model.parts import Part
from dray.model.values import Limits
from dray.moving.receive import PartSink
from dray.transports.posix import Posix, PosixSession

PART = 8
DATA = b"sixteen letters."
TARGET = UploadTarget(1, 1, "d", RemotePath("f"), len(DATA), PART, "pending")


class Uploads:
    """Tells the states of one upload, one at each question."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    async def targets(self, numbers: list[int]) -> list[UploadTarget]:
        state = cast(Any, self.states.pop(0))
        return [UploadTarget(1, 1, "d", RemotePath("f"), len(DATA), PART, state)]

    async def touch(self, numbers: list[int]) -> None:
        """Take no note."""


class Access:
    """Knows one token."""

    async def known(self, token: int) -> Principal:
        return Principal(token, "t", frozenset(["write"]))


def with_store(tmp_path: Path, story: Callable[[Store, PosixSession], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        async with Posix(tmp_path / "store", limits=Limits(piece=PART)).connect() as session:
            await story(Store("s", str(tmp_path), session, lambda file: -1, 0, 1 << 20), session)

    asyncio.run(told())


def services_of(store: Store, uploads: Uploads) -> Services:
    numbers = {"offset": 0, "length": PART, "token": 1}
    signer = SimpleNamespace(check=lambda *given: numbers)
    counters = SimpleNamespace(received=lambda count: None)
    clock = SimpleNamespace(wall=lambda: 0.0)
    made = {"store": store, "uploads": uploads, "access": Access(), "signer": signer, "counters": counters}
    return cast(Services, SimpleNamespace(**made, clock=clock, slots=Slots()))


def scope() -> dict[str, Any]:
    headers = [(b"content-length", b"8"), (b"x-dray-crc32c", b"%08x" % crc32c(DATA[:PART]))]
    place = {"path": "/files/parts/1/1", "query_string": b"", "path_params": {"upload": "1", "number": "1"}}
    return {"type": "http", "method": "PUT", "headers": headers, **place}


async def put(services: Services) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": DATA[:PART], "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await PartUpload(services)(scope(), receive, send)
    return sent


def test_a_part_is_receipted_when_its_upload_is_pending_before_and_after_its_body(tmp_path: Path) -> None:
    async def story(store: Store, session: PosixSession) -> None:
        sent = await put(services_of(store, Uploads("pending", "pending")))
        assert sent[0]["status"] == 200
        (staged,) = await session.stage([TARGET.landing()])
        assert [held.number for held in cast(Any, staged).held] == [1]

    with_store(tmp_path, story)


@pytest.mark.parametrize("state", ["cancelled", "uploaded", "failed"])
def test_a_part_whose_upload_ended_while_its_body_came_is_not_receipted(tmp_path: Path, state: str) -> None:
    async def story(store: Store, session: PosixSession) -> None:
        with pytest.raises(Conflict, match=state):
            await put(services_of(store, Uploads("pending", state)))
        (staged,) = await session.stage([TARGET.landing()])
        assert cast(Any, staged).held == ()

    with_store(tmp_path, story)


def test_a_request_that_is_cancelled_while_it_takes_a_part_gives_it_back(tmp_path: Path) -> None:
    asked, go = threading.Event(), threading.Event()

    async def story(store: Store, session: PosixSession) -> None:
        (staged,) = await session.stage([TARGET.landing()])
        part = Part(1, 0, PART)

        def make() -> PartSink:
            asked.set()
            assert go.wait(30)
            return PartSink(session.staging, cast(Any, staged).ref, part, 0)

        async def receive() -> None:
            async with entered(store, make):
                raise AssertionError("cancelled before it began")

        task = asyncio.create_task(receive())
        await asyncio.to_thread(asked.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        session.staging.lend(cast(Any, staged).ref, part).close(keep=True)

    with_store(tmp_path, story)
