"""Turns what came over HTTP into typed values, or says which part of it is wrong."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect
from starlette.requests import ClientDisconnect, Request

from dray.api.problems import MediaRefused
from dray.errors import Disconnected, LimitReached, NotFound, PieceDamaged, Refused, Unauthenticated, UsageError
from dray.model.intact import HEADER, is_intact

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

LARGEST_JSON = 4 << 20
"""Bytes of a JSON body."""

_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_MISFIT = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<where>.*)`$", re.DOTALL)


def bearer(request: Request) -> str:
    """Return the token of the Authorization header."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated("no token was given", hint="send Authorization: Bearer dray_...")
    return secret.strip()


def base_url(request: Request, configured: str | None) -> str:
    """Return the address of this server as the caller knows it, without trailing slash."""
    if configured:
        return configured.rstrip("/")
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise UsageError("the Host header names no host")
    return f"{request.scope['scheme']}://{host}{request.scope.get('root_path', '')}"


async def read_json(request: Request) -> bytes:
    """Return the bytes of a body that says it is JSON."""
    check_media(request, "application/json")
    if int(request.headers.get("content-length", 0)) > LARGEST_JSON:
        raise _too_large()
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > LARGEST_JSON:
                raise _too_large()
    except ClientDisconnect:
        raise Disconnected("the client went away in the middle of a body") from None
    check_intact(request.headers.get(HEADER), bytes(body))
    return bytes(body)


def check_intact(said: str | None, document: bytes) -> None:
    """Raise PieceDamaged when a document is not what its sender said it is."""
    if not is_intact(said, document):
        raise PieceDamaged("the request was damaged on its way", hint="it is sent again")


def check_media(request: Request, expected: str) -> None:
    """Raise MediaRefused unless the body is of the ``expected`` type and not encoded."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise MediaRefused(f"the body is {given or 'of no type'}", hint=f"send Content-Type: {expected}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaRefused("the body is compressed", hint="send it as it is, without Content-Encoding")


def _too_large() -> LimitReached:
    return LimitReached(f"a JSON body has at most {LARGEST_JSON} bytes", hint="send fewer items at once")


def decode(raw: bytes, kind: type[T]) -> T:
    """Decode JSON: text that is no JSON is a UsageError, a member that does not fit is Refused by its name."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        message, where = _misfit(error)
        raise Refused(message, item=where or "the body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {error}") from None


def _misfit(error: msgspec.ValidationError) -> tuple[str, str]:
    found = _MISFIT.match(str(error))
    return (found["what"], found["where"]) if found else (str(error), "")


class Parameters(Generic[S]):
    """Reads the parameters of path and query as one value of ``kind``; names in the path are fields like the others."""

    def __init__(self, kind: type[S], in_path: Iterable[str]) -> None:
        self.kind = kind
        types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        self._path = {name: types[name] for name in in_path}
        self._query = {name: _is_list(kind) for name, kind in types.items() if name not in self._path}
        self._not_text = {name for name in self._query if not _takes_text(types[name])}

    def read(self, path: Mapping[str, str], query: bytes) -> S:
        """Raise NotFound where a path cannot exist, UsageError where the query is wrong."""
        found: dict[str, object] = {**path, **self._read_query(query)}
        for name, kind in self._path.items():
            _check_path(path[name], kind, name)
        try:
            return msgspec.convert(found, self.kind, strict=False)
        except msgspec.ValidationError as error:
            message, where = _misfit(error)
            raise UsageError(message, item=where or "the query") from None

    def _read_query(self, query: bytes) -> dict[str, object]:
        scalars: dict[str, object] = {}
        lists: dict[str, list[str]] = {}
        for name, value in _pairs(query):
            if name not in self._query:
                raise UsageError("there is no such parameter", item=name[:200])
            if value.lower() == "null" and name in self._not_text:
                raise UsageError("null is no value here, leave the parameter out", item=name)
            if self._query[name]:
                lists.setdefault(name, []).append(value)
            elif name in scalars:
                raise UsageError("the parameter is given more than once", item=name)
            else:
                scalars[name] = value
        return scalars | lists


def _check_path(value: str, kind: Any, name: str) -> None:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise NotFound(f"there is no such {name}", item=value[:200]) from None


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise UsageError("the query is not a valid one", hint="percent-encoded UTF-8, at most 1000 fields") from None


def _takes_text(kind: Any) -> bool:
    """Say whether ``null`` is a text for this kind; msgspec would take it for None."""
    try:
        msgspec.convert("null", kind)
    except msgspec.ValidationError:
        return False
    return True


def _is_list(kind: Any) -> bool:
    return isinstance(inspect.type_info(kind), inspect.ListType)
