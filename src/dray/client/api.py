"""The calls of the native API (docs/api.md), typed by the shapes of model/views.py."""

import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode, urljoin

import msgspec

from dray.client.address import Address, Place, place
from dray.client.body import Part
from dray.client.http import Http, Moved, Request, Response
from dray.client.problems import failure, from_problem
from dray.errors import Disconnected, DrayError, NotFound, Permanent, Temporary
from dray.fs import FileRange
from dray.model import views
from dray.model.intact import HEADER, check, is_intact
from dray.model.values import Value

T = TypeVar("T")
Query = Sequence[tuple[str, str | int | float]]
JSON = ("Content-Type", "application/json")
BUNDLE = ("Content-Type", "application/vnd.dray.bundle")
PREFIX_SEGMENTS = 4  # how deep below the root of its host a server may live
PAGE = 1000
NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError)


class Server(Value, frozen=True):
    """A server that was found: its own address, that of its API, and how many segments its prefix takes.

    A file up to ``part_size`` bytes is one piece for it.
    """

    url: str
    api: str
    prefix: int
    version: str
    part_size: int = 32 << 20


async def find_server(http: Http, address: Address) -> Server:
    """Ask along the path of ``address`` where the server lives, or raise NotFound."""
    for count in range(min(len(address.segments), PREFIX_SEGMENTS) + 1):
        prefix = "".join(f"/{quote(segment)}" for segment in address.segments[:count])
        health = _health(await http.send(Request("GET", f"{address.origin}{prefix}/health")))
        if health:
            api = health.api if health.api.startswith(f"{prefix}/") else prefix + health.api
            return Server(address.origin + prefix, address.origin + api, count, health.version, health.part_size)
    raise NotFound("no Dray server answers there", item=address.origin, hint="is the address right?")


def _health(response: Response) -> views.Health | None:
    if response.status in (502, 503, 504):
        raise _failed(response)
    _check_intact(response)
    try:
        return msgspec.json.decode(response.body, type=views.Health)
    except NOT_JSON:
        return None


async def find_place(http: Http, address: Address) -> tuple[Server, Place]:
    """Find the server of ``address`` and what it names there."""
    server = await find_server(http, address)
    return server, place(address, server.url, server.prefix)


class Api:
    """Calls one server. Every call raises an error of the tree; failed items of a batch answer stand in their place."""

    def __init__(self, http: Http, server: Server, token: str | None) -> None:
        self.http = http
        self.server = server
        self._headers = (("Authorization", f"Bearer {token}"),) if token else ()

    # Uploads

    async def stage(self, request: views.StageRequest) -> list[views.StagedUpload | DrayError]:
        return await self._batch("/uploads", request, views.StagedUpload)

    async def held_parts(self, upload: int) -> views.HeldParts:
        return _decoded(await self._get(f"/uploads/{upload}/parts"), views.HeldParts)

    async def part_urls(self, request: views.PartsRequest) -> list[views.SignedUrl | DrayError]:
        return await self._batch("/uploads/parts", request, views.SignedUrl)

    async def put_part(
        self, url: views.SignedUrl, at: FileRange, crc32c: int, moved: Moved | None = None
    ) -> views.PartReceipt:
        """Send one part to its signed URL."""
        headers = (*url.headers.items(), (HEADER, f"{crc32c:08x}"))
        response = await self._send(Request("PUT", self._absolute(url.url), headers, (at,)), moved)
        return _decoded(response, views.PartReceipt)

    async def send_bundle(
        self, manifest: views.BundleManifest, bodies: Sequence[FileRange], moved: Moved | None = None
    ) -> list[views.PartReceipt | DrayError]:
        """Send many whole files in one request."""
        head = msgspec.json.encode(manifest)
        body: tuple[Part, ...] = (len(head).to_bytes(4, "big") + head, *bodies)
        headers = (*self._headers, BUNDLE, (HEADER, check(head)))
        request = Request("POST", self._url("/uploads/bundle"), headers, body)
        return _items(await self._send(request, moved), views.PartReceipt)

    async def complete(self, request: views.CompleteRequest, wait: float) -> list[views.UploadView | DrayError]:
        return await self._batch(f"/uploads/complete?{urlencode({'wait': f'{wait:g}'})}", request, views.UploadView)

    async def uploads(self, ids: Iterable[int], wait: float = 0) -> list[views.UploadView | DrayError]:
        """Return the state of uploads in order, after a verdict of all or ``wait`` seconds."""
        query: list[tuple[str, str | int]] = [*(("id", upload) for upload in ids), ("wait", f"{wait:g}")]
        return _items(await self._get("/uploads", query), views.UploadView)

    async def cancel(self, request: views.CancelRequest) -> list[views.UploadView | DrayError]:
        return await self._batch("/uploads/cancel", request, views.UploadView)

    # Files

    async def files(self, query: Query) -> AsyncIterator[views.FileView]:
        """Yield files, page after page, for the filters of ``GET /files``."""
        paging: Query = [*query, ("limit", PAGE)]
        while True:
            page = _decoded(await self._get("/files", paging), views.FilePage)
            for item in page.items:
                yield item
            if not page.next:
                return
            paging = [*query, ("limit", PAGE), ("cursor", page.next)]

    async def file(self, file: int) -> views.FileDetail:
        return _decoded(await self._get(f"/files/{file}"), views.FileDetail)

    async def check(self, request: views.CheckRequest) -> list[views.CheckedFile | DrayError]:
        return await self._batch("/files/check", request, views.CheckedFile)

    async def file_urls(self, request: views.FilesRequest) -> list[views.SignedUrl | DrayError]:
        return await self._batch("/files/urls", request, views.SignedUrl)

    async def get_range(self, url: views.SignedUrl, offset: int, at: FileRange, moved: Moved | None = None) -> int:
        """Fill ``at`` with the bytes at ``offset`` of a file; return their crc32c."""
        headers = (*url.headers.items(), ("Range", f"bytes={offset}-{offset + at.length - 1}"))
        response = await self.http.send(Request("GET", self._absolute(url.url), headers, into=(at,)), moved)
        return _filled(response)[0]

    async def get_bundle(
        self, request: views.FilesRequest, into: Sequence[FileRange], moved: Moved | None = None
    ) -> Sequence[int]:
        """Fill ``into`` with whole files, in one request; return the crc32c of each."""
        body = msgspec.json.encode(request)
        headers = (*self._headers, JSON, (HEADER, check(body)))
        call = Request("POST", self._url("/files/bundle"), headers, (body,), tuple(into))
        return _filled(await self.http.send(call, moved))

    # The rest

    async def datasets(self) -> AsyncIterator[views.DatasetView]:
        """Yield all datasets that the token may see."""
        paging: Query = [("limit", PAGE)]
        while True:
            page = _decoded(await self._get("/datasets", paging), views.DatasetPage)
            for item in page.items:
                yield item
            if not page.next:
                return
            paging = [("limit", PAGE), ("cursor", page.next)]

    async def dataset(self, name: str) -> views.DatasetView:
        return _decoded(await self._get(f"/datasets/{quote(name, safe='')}"), views.DatasetView)

    async def create_dataset(self, request: views.DatasetRequest) -> views.DatasetView:
        return _decoded(await self._post("/datasets", request, once=True), views.DatasetView)

    async def events(self, after: str = "", limit: int = PAGE) -> views.EventPage:
        return _decoded(await self._get("/events", [("after", after), ("limit", limit)]), views.EventPage)

    async def status(self) -> views.ServerStatus:
        return _decoded(await self._get("/status"), views.ServerStatus)

    async def scrub(self, request: views.ScrubRequest) -> views.JobView:
        return _decoded(await self._post("/scrub", request, once=True), views.JobView)

    async def job(self, job: int) -> views.JobView:
        return _decoded(await self._get(f"/jobs/{job}"), views.JobView)

    async def tokens(self) -> views.TokenPage:
        return _decoded(await self._get("/tokens"), views.TokenPage)

    async def create_token(self, request: views.TokenRequest) -> views.TokenView:
        return _decoded(await self._post("/tokens", request, once=True), views.TokenView)

    async def revoke_token(self, token: int) -> views.TokenView:
        return _decoded(await self._post(f"/tokens/{token}/revoke", None), views.TokenView)

    async def me(self) -> views.Me:
        return _decoded(await self._get("/me"), views.Me)

    def _url(self, path: str) -> str:
        return self.server.api + path

    def _absolute(self, url: str) -> str:
        """Return a signed URL as an address: the server may have left out its own host."""
        return urljoin(self.server.url + "/", url)

    async def _get(self, path: str, query: Query = ()) -> Response:
        url = self._url(path) + (f"?{urlencode(query)}" if query else "")
        return await self._send(Request("GET", url, self._headers))

    async def _post(self, path: str, body: msgspec.Struct | None, *, once: bool = False) -> Response:
        """Send JSON; ``once`` marks a call that must not happen twice when somebody repeats the request."""
        key = (("Idempotency-Key", str(uuid.uuid4())),) if once else ()
        data = b"" if body is None else msgspec.json.encode(body)
        headers = (*self._headers, JSON, (HEADER, check(data)), *key)
        return await self._send(Request("POST", self._url(path), headers, (data,) if data else ()))

    async def _send(self, request: Request, moved: Moved | None = None) -> Response:
        """Send a request whose answer is a document, and believe only what arrived as it was sent."""
        response = await self.http.send(request, moved)
        _check_intact(response)
        return response

    async def _batch(self, path: str, body: msgspec.Struct, kind: type[T]) -> list[T | DrayError]:
        return _items(await self._post(path, body), kind)


class _Items(msgspec.Struct, Generic[T]):
    items: list[T]


_DECODERS: dict[type, msgspec.json.Decoder[_Items[Any]]] = {
    kind: msgspec.json.Decoder(_Items[kind])  # type: ignore[valid-type]
    for kind in (views.StagedUpload, views.SignedUrl, views.PartReceipt, views.UploadView, views.CheckedFile)
}


def _items(response: Response, kind: type[T]) -> list[T | DrayError]:
    """Decode a batch answer; item by item only where one of them failed."""
    _refuse(response)
    try:
        return list(_DECODERS[kind].decode(response.body).items)
    except msgspec.ValidationError:
        return [_item(raw, kind) for raw in _parsed(response.body, _Items[msgspec.Raw]).items]


def _item(raw: msgspec.Raw, kind: type[T]) -> T | DrayError:
    try:
        return from_problem(msgspec.json.decode(raw, type=views.Failed).problem)
    except msgspec.ValidationError:
        return _parsed(raw, kind)


def _check_intact(response: Response) -> None:
    if not is_intact(response.headers.get(HEADER.lower()), response.body):
        raise Disconnected("the server's answer was damaged on its way", hint="it has to be asked again")


def _refuse(response: Response) -> None:
    if not 200 <= response.status < 300:
        raise _failed(response)


def _decoded(response: Response, kind: type[T]) -> T:
    _refuse(response)
    return _parsed(response.body, kind)


def _parsed(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except NOT_JSON as error:
        raise Permanent(f"the server's answer is not understood: {error}", hint="is it a newer Dray?") from error


def _filled(response: Response) -> Sequence[int]:
    if response.crcs:
        return response.crcs
    if response.status < 300:
        raise Temporary(f"the server answered {response.status} without the bytes asked for")
    raise _failed(response)


def _failed(response: Response) -> DrayError:
    headers = response.headers
    return failure(response.status, headers.get("content-type", ""), response.body, headers.get("retry-after", ""))
