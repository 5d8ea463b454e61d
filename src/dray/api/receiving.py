"""Byte routes into the store: one part by a signed URL, and many small files in one request."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dray.api.counters import Counters
from dray.api.front import request_id
from dray.api.lane import STALL, Consume, receive_body, stalled
from dray.api.operation import JSON
from dray.api.parsing import bearer, check_intact, check_media, decode
from dray.api.problems import LengthMissing, MethodRefused, failed
from dray.api.services import Services
from dray.api.store import Store
from dray.api.uploading import part_of, receiving
from dray.core.access import Principal
from dray.core.uploads import UploadTarget
from dray.errors import DrayError, LimitReached, Refused, UsageError
from dray.model.intact import HEADER, check
from dray.model.parts import Part
from dray.model.values import Receipt, Staged
from dray.model.views import BundleItem, BundleManifest, PartReceipt
from dray.moving.receive import Arrival, BundleSink, PartSink

BUNDLE = "application/vnd.dray.bundle"
HEAD = 4
"""Bytes that tell the length of a manifest."""

SLOWEST = 8192
"""Bytes a second that a body has to bring on average, after the first minute."""

_CRC = re.compile(r"[0-9a-f]{8}")
S = TypeVar("S", PartSink, BundleSink)


class PartUpload:
    """PUT of one part; a newer request for the same part ends an older one that lingers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method != "PUT":
            raise MethodRefused(request.method, "PUT")
        receipt = await self._services.slots.run(self._receive(request, scope, receive))
        await _json(receipt)(scope, receive, send)

    async def _receive(self, request: Request, scope: Scope, receive: Receive) -> PartReceipt:
        services = self._services
        numbers = services.signer.check("PUT", scope["path"], scope["query_string"], services.clock.wall())
        target, part = await self._named(request, numbers["token"])
        if (part.offset, part.length) != (numbers["offset"], numbers["length"]):
            raise Refused("the parts of this upload were planned anew", hint="ask for a fresh URL")
        _check_length(request, part)
        crc32c = _announced(request)
        await services.slots.take(mine(), [(target.upload, part.number)])
        staged = await services.store.staged(target)
        inbox = services.store.place.staging
        async with entered(services.store, lambda: PartSink(inbox, staged.ref, part, crc32c)) as sink:
            receipt = sink.receipt or await self._take(sink, request, numbers["token"])
        await services.uploads.touch([target.upload])
        return receipt_view(target.upload, receipt)

    async def _named(self, request: Request, token: int) -> tuple[UploadTarget, Part]:
        who = await self._services.access.known(token)
        (target,) = await self._services.uploads.targets([int(request.path_params["upload"])])
        if isinstance(target, DrayError):
            raise target
        who.require("write", target.dataset)
        return target, part_of(receiving(target), int(request.path_params["number"]))

    async def _take(self, sink: PartSink, request: Request, token: int) -> Receipt:
        await whole_body(request.scope, request.receive, Counted(self._services.counters, sink.consume))
        # The token may have been revoked, or the upload given up, while a slow body came.
        await self._named(request, token)
        return await self._services.store.run(sink.finish)


def mine() -> asyncio.Task[Any]:
    """Return the task this runs in."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("bytes are received in a task")
    return task


def _check_length(request: Request, part: Part) -> None:
    length = _length(request)
    if length != part.length:
        raise UsageError(f"part {part.number} has {part.length} bytes, Content-Length says {length}")


def _length(request: Request) -> int:
    text = request.headers.get("content-length")
    if text is None:
        raise LengthMissing("a body of bytes needs a Content-Length", hint="send it without chunked encoding")
    return int(text)


def _announced(request: Request) -> int:
    text = request.headers.get("x-dray-crc32c", "").lower()
    if not _CRC.fullmatch(text):
        raise UsageError("X-Dray-Crc32c has to hold the crc32c of the body, 8 hex digits", item="X-Dray-Crc32c")
    return int(text, 16)


class BundleUpload:
    """POST of many files of one piece each: a manifest, then their bodies; an answer for each."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method != "POST":
            raise MethodRefused(request.method, "POST")
        who = await self._services.access.authenticate(bearer(request))
        who.require("write")
        check_media(request, BUNDLE)
        length = _length(request)
        if length > (most := self._services.store.bundle_bytes):
            raise LimitReached(f"a bundle has at most {most} bytes", hint="send fewer files at once")
        bundle = _Bundle(self._services, who, length, request.headers.get(HEADER))
        answers = await self._services.slots.run(bundle.receive(scope, receive))
        shown = [failed(one, request_id(scope)) if isinstance(one, DrayError) else one for one in answers]
        await _json({"items": shown})(scope, receive, send)


class _Bundle:
    """One bundle on its way in."""

    def __init__(self, services: Services, who: Principal, length: int, said: str | None) -> None:
        self._services = services
        self._who = who
        self._length = length
        self._said = said
        self._loop = asyncio.get_running_loop()
        self._items: list[BundleItem] = []
        self._task: asyncio.Task[Any]
        self._counted: Counted

    async def receive(self, scope: Scope, receive: Receive) -> list[PartReceipt | DrayError]:
        """Take the whole body and return what became of each file."""
        services = self._services
        self._task = mine()
        inbox = services.store.place.staging
        async with entered(services.store, lambda: BundleSink(inbox, self._announced)) as sink:
            self._counted = Counted(services.counters, sink.consume, uncounted=self._length)
            await whole_body(scope, receive, self._counted)
            await services.access.known(self._who.token)
            answers = await services.store.run(sink.finish)
        numbers = [item.upload for item in self._items]
        await services.uploads.touch(numbers)
        ended = await services.uploads.ended(numbers)
        targets = dict(zip(ended, await services.uploads.targets(ended), strict=True))
        return [_answered(*pair, targets.get(pair[0])) for pair in zip(numbers, answers, strict=True)]

    def _announced(self, manifest: bytes) -> Sequence[Arrival]:
        """Say where the files of a manifest go; runs in the thread that reads the body."""
        check_intact(self._said, manifest)
        self._items = decode(manifest, BundleManifest).items
        announced = HEAD + len(manifest) + sum(item.size for item in self._items)
        if announced != self._length:
            raise UsageError(f"the manifest announces {announced} bytes in all, Content-Length says {self._length}")
        self._counted.uncounted = HEAD + len(manifest)
        return asyncio.run_coroutine_threadsafe(self._arrivals(), self._loop).result(STALL)

    async def _arrivals(self) -> list[Arrival]:
        await self._services.slots.take(self._task, [(item.upload, 1) for item in self._items])
        targets = await self._services.uploads.targets([item.upload for item in self._items])
        arrivals = [_arrival(self._who, *pair) for pair in zip(self._items, targets, strict=True)]
        sent = [target for target, arrival in zip(targets, arrivals, strict=True) if arrival.refused is None]
        staged = await self._services.store.place.stage([t.landing() for t in sent if isinstance(t, UploadTarget)])
        ready = iter(staged)
        return [one if one.refused else _staged(one, next(ready)) for one in arrivals]


def _answered(
    upload: int, answer: Receipt | DrayError, ended: UploadTarget | DrayError | None
) -> PartReceipt | DrayError:
    """Return the receipt of a file, unless its upload was given up while the bundle came."""
    try:
        if isinstance(answer, DrayError):
            raise answer
        if isinstance(ended, UploadTarget):
            receiving(ended)
    except DrayError as error:
        return error.about(f"upload {upload}")
    return receipt_view(upload, answer)


def _arrival(who: Principal, item: BundleItem, target: UploadTarget | DrayError) -> Arrival:
    crc32c = int(item.crc32c, 16)
    try:
        if isinstance(target, DrayError):
            raise target
        who.require("write", target.dataset)
        receiving(target)
        if item.size != target.size:
            raise Refused(f"{target.size} bytes were staged, {item.size} are sent", item=target.path)
        if target.size > target.part_size:
            raise Refused("a file of several parts cannot be bundled", item=target.path, hint="PUT its parts")
    except DrayError as error:
        return Arrival(item.size, crc32c, refused=error)
    return Arrival(item.size, crc32c)


def _staged(arrival: Arrival, staged: Staged | DrayError) -> Arrival:
    if isinstance(staged, DrayError):
        return msgspec.structs.replace(arrival, refused=staged)
    return msgspec.structs.replace(arrival, ref=staged.ref)


async def whole_body(scope: Scope, receive: Receive, consume: Consume) -> None:
    """Hand a body to ``consume``, unless it comes slower than anybody's line."""
    seconds = STALL + int(dict(scope["headers"])[b"content-length"]) / SLOWEST
    try:
        async with asyncio.timeout(seconds):
            await receive_body(scope, receive, consume)
    except TimeoutError:
        raise stalled(seconds) from None


class Counted:
    """Counts the bytes of files before it hands them on, whatever becomes of them; the first ``uncounted`` are none."""

    def __init__(self, counters: Counters, consume: Consume, uncounted: int = 0) -> None:
        self._counters = counters
        self._consume = consume
        self._seen = 0
        self.uncounted = uncounted

    def __call__(self, view: memoryview) -> None:
        before = self._seen
        self._seen += len(view)
        try:
            self._consume(view)
        finally:
            self._counters.received(max(0, self._seen - max(before, self.uncounted)))


@asynccontextmanager
async def entered(store: Store, make: Callable[[], S]) -> AsyncIterator[S]:
    """Make, enter and leave a sink in threads, since each of these touches the disk.

    One that was made is left in any case: cancelled while it is made, nobody else could ever have its bytes again.
    """
    made: list[S] = []
    try:
        await store.run(lambda: made.append(make().__enter__()))
        yield made[0]
    except BaseException as error:
        for sink in made:
            await store.run(sink.__exit__, type(error), error, error.__traceback__)
        raise
    await store.run(made[0].__exit__, None, None, None)


def receipt_view(upload: int, receipt: Receipt) -> PartReceipt:
    """Show a receipt."""
    return PartReceipt(
        upload=upload,
        number=receipt.number,
        length=receipt.length,
        crc32c=f"{receipt.crc32c:08x}",
        level=receipt.level,
    )


def _json(answer: object) -> Response:
    document = msgspec.json.encode(answer)
    return Response(document, headers={"cache-control": "no-store", HEADER: check(document)}, media_type=JSON)
