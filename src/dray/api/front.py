"""What every request passes first: a request id, limits on headers, security headers, counting, the access log."""

import logging
import re
import secrets
from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dray.api.counters import Counters
from dray.api.problems import respond, told
from dray.errors import Disconnected, DrayError, LimitReached
from dray.model.names import printable

MOST_HEADERS = 100
HEADER_BYTES = 32 << 10
GONE = 499
"""Noted as the status of a request whose client went away before the answer."""

SECURITY = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Sent with every answer that does not set its own."""

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
log = logging.getLogger("dray.access")


class HeadersTooLarge(LimitReached):
    """The headers of the request are too many or too long."""

    code, status = "headers-too-large", 431


class Front:
    """Wraps the whole application; queries are never logged, since they can hold signatures."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            _check_headers(scope)
            await self._app(scope, receive, answer.send)
        except Exception as error:
            await answer.fail(error, receive)
        finally:
            self._note(scope, answer)

    def _note(self, scope: Scope, answer: "_Answer") -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = answer.status or GONE
        self._counters.answered(method, status)
        client = scope["client"][0] if scope.get("client") else "-"
        path = printable(scope["path"])
        seconds = perf_counter() - answer.started
        log.info("%s %s %s %d %.3fs %s", client, method, path, status, seconds, answer.request_id)


def request_id(scope: Scope) -> str:
    """Return the id under which the log and the answer speak of this request."""
    return str(scope["state"]["request_id"])


def _check_headers(scope: Scope) -> None:
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES:
        raise HeadersTooLarge(f"at most {MOST_HEADERS} headers of {HEADER_BYTES} bytes together are taken")


class _Answer:
    """The answer to one request on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = perf_counter()
        self.status = 0
        self.request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = self.request_id
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def fail(self, error: Exception, receive: Receive) -> None:
        """Answer with a problem, or cut the connection where an answer has begun."""
        failure = told(error, self.request_id)
        if not self.status:
            await respond(failure, self.request_id)(self._scope, receive, self.send)
        elif not isinstance(failure, Disconnected):
            raise _Cut(str(failure)) from None


class _Cut(DrayError):
    """An answer broke off in its middle; the server closes the connection."""


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
