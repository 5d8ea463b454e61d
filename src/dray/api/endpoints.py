"""Answers the operations of one path: who asks, what is asked, the use case, the answer."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dray.api.front import request_id
from dray.api.operation import Call, Operation
from dray.api.parsing import bearer, decode, read_json
from dray.api.problems import MethodRefused, failed
from dray.api.services import Services
from dray.core.access import Principal
from dray.core.sweep import Answer
from dray.errors import DrayError, Temporary, UsageError
from dray.model.intact import HEADER, check

NOBODY = Principal(token=0, name="", scopes=frozenset())
_KEY = re.compile(r"[!-~]{1,200}")


class Endpoint:
    """An ASGI application for all methods of one path."""

    def __init__(self, operations: Sequence[Operation], services: Services) -> None:
        self._operations = {operation.method: operation for operation in operations}
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        operation = self._choose(request.method)
        try:
            async with asyncio.timeout(operation.seconds):
                response = await self._answer(operation, request)
        except TimeoutError:
            raise Temporary(f"no answer was ready within {operation.seconds:g} s") from None
        await response(scope, receive, send)

    def _choose(self, method: str) -> Operation:
        operation = self._operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            allowed = ", ".join([*self._operations, *(["HEAD"] if "GET" in self._operations else [])])
            raise MethodRefused(method, allowed)
        return operation

    async def _answer(self, operation: Operation, request: Request) -> Response:
        who = await allow(self._services, operation, request)
        where = operation.parameters.read(request.path_params, request.scope["query_string"])
        raw = await read_json(request) if operation.body is not None else b""
        body = decode(raw, operation.body) if operation.body is not None else None
        call = Call(self._services, who, where, body, request)
        key = _key(request) if operation.repeatable else None
        if key is None:
            return respond(operation, await operation.run(call), request)
        return await self._once(operation, call, key, raw, request)

    async def _once(
        self, operation: Operation, call: Call[Any, Any], key: str, raw: bytes, request: Request
    ) -> Response:
        """Answer a request with an Idempotency-Key: the first answer is kept and given again."""
        repeats = self._services.repeats
        digest = hashlib.sha256(b"\0".join((operation.name.encode(), request.scope["query_string"], raw))).hexdigest()
        async with repeats.alone(call.who, key):
            kept = await repeats.get(call.who, key, digest)
            if kept is not None:
                return Response(kept.body, kept.status, {HEADER: check(kept.body)}, media_type=kept.media_type)
            answer = await operation.run(call)
            keep = respond(operation, operation.kept(answer), request)
            await repeats.put(call.who, key, digest, Answer(operation.status, operation.gives, bytes(keep.body)))
            return respond(operation, answer, request)


async def allow(services: Services, operation: Operation, request: Request) -> Principal:
    """Return who asks, when they may call this operation at all; the use case looks at the dataset."""
    if operation.scope is None:
        return NOBODY
    who = await services.access.authenticate(bearer(request))
    if operation.scope != "any":
        who.require(operation.scope)
    return who


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise UsageError("an Idempotency-Key is 1 to 200 printable ASCII characters", item="Idempotency-Key")
    return key


def respond(operation: Operation, answer: Any, request: Request) -> Response:
    """Return the HTTP answer of an operation that did what was asked."""
    if isinstance(answer, Response):
        return answer
    if operation.batch:
        mine = request_id(request.scope)
        answer = {"items": [failed(item, mine) if isinstance(item, DrayError) else item for item in answer]}
    document = msgspec.json.encode(answer)
    headers = {"cache-control": "no-store", HEADER: check(document)}
    return Response(document, operation.status, headers, media_type=operation.gives)
