"""Failures as RFC 9457 problem documents, made in this one place.

Besides the tree of ``dray.errors`` HTTP has words of its own that only a program talking HTTP can provoke.
"""

import logging
import math

import msgspec
from starlette.responses import Response

from dray.errors import DrayError, Temporary, TooManyRequests, Unauthenticated, UsageError
from dray.model.intact import HEADER, check
from dray.model.names import printable
from dray.model.views import Failed, Problem

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("dray.api")


class MethodRefused(UsageError):
    """The address is known, the method is not one of those in the Allow header."""

    code, status = "method-refused", 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{printable(method)} is not possible here", hint=f"allowed: {allowed}")
        self.allowed = allowed


class MediaRefused(UsageError):
    """The body has another content type than the one this call takes."""

    code, status = "media-refused", 415


class RangeRefused(UsageError):
    """None of the bytes that were asked for exist; the Content-Range header tells the size."""

    code, status = "range-refused", 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the range is not within the {size} bytes of the file")
        self.size = size


class LengthMissing(UsageError):
    """A body of bytes has to say its length before it is sent."""

    code, status = "length-missing", 411


def problem(error: DrayError, request_id: str = "") -> Problem:
    """Return the document of a failure."""
    return Problem(
        type=f"/problems/{error.code}",
        title=title(type(error)),
        status=error.status,
        detail=printable(error.message),
        code=error.code,
        item=printable(error.item),
        hint=printable(error.hint),
        retry=error.retry,
        retry_after=error.after,
        request_id=request_id,
    )


def failed(error: DrayError, request_id: str) -> Failed:
    """Return what stands in a batch answer in the place of an item that failed."""
    return Failed(problem=problem(told(error, request_id), request_id))


def title(kind: type[DrayError]) -> str:
    """Return what a class of failures means: the first sentence of its documentation."""
    return (kind.__doc__ or kind.code).split("\n")[0].partition(";")[0].rstrip(".")


def respond(error: DrayError, request_id: str = "") -> Response:
    """Return the HTTP answer of a failure."""
    body = msgspec.json.encode(problem(error, request_id))
    return Response(body, error.status, headers=_headers(error) | {HEADER: check(body)}, media_type=MEDIA_TYPE)


def _headers(error: DrayError) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if error.after is not None or type(error) in (Temporary, TooManyRequests):
        headers["retry-after"] = str(math.ceil(error.after or 1))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="dray"'
    if isinstance(error, MethodRefused):
        headers["allow"] = error.allowed
    if isinstance(error, RangeRefused):
        headers["content-range"] = f"bytes */{error.size}"
    return headers


def told(error: Exception, request_id: str) -> DrayError:
    """Return what the caller is told of any exception; one that is not ours goes to the log with its trace."""
    if isinstance(error, DrayError):
        return error
    log.error("unexpected failure of request %s", request_id, exc_info=error)
    return DrayError("the server failed in an unexpected way", hint=f"its log has the cause, request {request_id}")
