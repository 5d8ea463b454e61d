"""Byte routes out of the store: one file with ranges, and many whole files in one answer."""

import asyncio
import base64
from collections.abc import Generator, Sequence
from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dray.api.lane import GATHER, STALL, Head, send_file, stalled
from dray.api.parsing import bearer, decode, read_json
from dray.api.problems import MethodRefused
from dray.api.ranges import Span, choose, matches
from dray.api.services import Services
from dray.api.store import Store
from dray.core.datasets import StoredFile
from dray.errors import DrayError, NotFound
from dray.fs import FileRange, pieces_of
from dray.model.views import FilesRequest

BODIES = "application/vnd.dray.bodies"
PARAMETERS = tuple(
    {"name": name, "in": "header", "required": False, "description": meaning, "schema": {"type": "string"}}
    for name, meaning in (
        ("Range", "one range of bytes; several, or a malformed one, give the whole file"),
        ("If-Range", "the ETag for which the range is meant"),
        ("If-None-Match", "ETags of content that the caller has"),
    )
)
DOWNLOAD_POLICY = (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'")


class Download:
    """GET and HEAD of one file by a signed URL."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        file = await self._signed(request)
        etag = f'"{file.checksum}"'
        if matches(request.headers.get("if-none-match"), etag):
            await Response(status_code=304, headers={"etag": etag})(scope, receive, send)
            return
        span = choose(request.headers.get("range"), request.headers.get("if-range"), etag, file.size)
        await self._send(file, span, scope, receive, send)

    async def _signed(self, request: Request) -> StoredFile:
        """Return the file that the URL gives a right to."""
        if request.method not in ("GET", "HEAD"):
            raise MethodRefused(request.method, "GET, HEAD")
        services, scope = self._services, request.scope
        numbers = services.signer.check("GET", scope["path"], scope["query_string"], services.clock.wall())
        who = await services.access.known(numbers["token"])
        (file,) = await services.datasets.stored(who, [int(request.path_params["file"])])
        if isinstance(file, DrayError):
            raise file
        if file.size != numbers["size"]:
            raise NotFound("this version of the file is no longer there", item=file.path)
        return file

    async def _send(self, file: StoredFile, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._services.store.opened(file) as fd:
            at = FileRange(fd, span.offset, span.length)
            head = Head(206 if span.partial else 200, headers(file, span))
            await send_file(scope, receive, send, head, at)
        self._services.counters.sent(span.length)


def headers(file: StoredFile, span: Span) -> list[tuple[bytes, bytes]]:
    """Return the headers of a download; whatever the file is, no browser shall run it."""
    digest = base64.b64encode(bytes.fromhex(file.checksum.hex)).decode()
    found = {
        "content-type": "application/octet-stream",
        "content-disposition": disposition(file.path.name),
        "etag": f'"{file.checksum}"',
        "repr-digest": f"sha-256=:{digest}:",
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
    }
    if span.partial:
        found["content-range"] = f"bytes {span.offset}-{span.offset + span.length - 1}/{file.size}"
    return [(name.encode(), value.encode()) for name, value in found.items()] + [DOWNLOAD_POLICY]


def disposition(name: str) -> str:
    """Return a Content-Disposition that saves under ``name`` (RFC 6266, RFC 8187), however hostile it is."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/;' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class BundleDownload:
    """POST: many whole files, one after another, in the order they were asked for."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        files = await self._asked(Request(scope, receive))
        await self._services.store.check(files)
        total = sum(file.size for file in files)
        start = [
            (b"content-type", BODIES.encode()),
            (b"content-length", b"%d" % total),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        blocks = _blocks(files, self._services.store)
        try:
            while block := await self._services.store.run(partial(next, blocks, b"")):
                await asyncio.wait_for(send({"type": "http.response.body", "body": block, "more_body": True}), STALL)
                self._services.counters.sent(len(block))
        except TimeoutError:
            raise stalled(STALL) from None
        finally:
            blocks.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _asked(self, request: Request) -> list[StoredFile]:
        if request.method != "POST":
            raise MethodRefused(request.method, "POST")
        who = await self._services.access.authenticate(bearer(request))
        who.require("read")
        asked = decode(await read_json(request), FilesRequest)
        found = await self._services.datasets.stored(who, [item.file for item in asked.items])
        return [_there(file) for file in found]


def _there(file: StoredFile | DrayError) -> StoredFile:
    if isinstance(file, DrayError):
        raise file
    return file


def _blocks(files: Sequence[StoredFile], store: Store) -> Generator[bytes]:
    """Yield the bytes of all files, small ones gathered, so that each thread hop is worth its cost."""
    gathered = bytearray()
    for file in files:
        with store.open(file) as fd:
            for view in pieces_of(FileRange(fd, 0, file.size), memoryview(bytearray(GATHER))):
                gathered += view
                if len(gathered) >= GATHER:
                    yield bytes(gathered)
                    gathered.clear()
    if gathered:
        yield bytes(gathered)
