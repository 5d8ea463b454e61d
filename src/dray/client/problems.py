"""Makes an error of the tree out of an answer that says no: problem documents (RFC 9457), or a bare status."""

import contextlib

import msgspec

from dray.errors import (
    Busy,
    Conflict,
    Denied,
    Disconnected,
    DrayError,
    LimitReached,
    NoSpace,
    NotFound,
    Permanent,
    Refused,
    Temporary,
    TooManyRequests,
    Unauthenticated,
    Unreachable,
    UsageError,
    error_classes,
)
from dray.model.names import printable
from dray.model.views import Problem

BY_STATUS: dict[int, type[DrayError]] = {
    400: UsageError,
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    408: Disconnected,
    409: Conflict,
    413: LimitReached,
    422: Refused,
    423: Busy,
    429: TooManyRequests,
    502: Unreachable,
    503: Temporary,
    504: Unreachable,
    507: NoSpace,
}
_SHOWN = 200  # characters of a foreign error page that are worth showing


def failure(status: int, media_type: str, body: bytes, after: str = "") -> DrayError:
    """Return the error that an answer with ``status`` means; ``after`` is its Retry-After header."""
    problem = _problem(media_type, body)
    if problem is not None:
        return from_problem(problem)
    return _bare(status, body, _seconds(after))


def from_problem(problem: Problem) -> DrayError:
    """Rebuild the error that the server put into a problem document."""
    kind = error_classes().get(problem.code) or _kind(problem.status, problem.retry)
    error = kind(problem.detail or problem.title, item=problem.item, hint=problem.hint, after=problem.retry_after)
    if problem.request_id and problem.status >= 500:
        error.hint = f"{error.hint}; request {problem.request_id}" if error.hint else f"request {problem.request_id}"
    return error


def _problem(media_type: str, body: bytes) -> Problem | None:
    if media_type.partition(";")[0].strip().lower() == "application/problem+json":
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(body, type=Problem)
    return None


def _kind(status: int, retry: str) -> type[DrayError]:
    default = UsageError if status < 500 else Temporary if retry == "later" else Permanent
    return BY_STATUS.get(status, default)


def _bare(status: int, body: bytes, after: float | None) -> DrayError:
    said = printable(body[:_SHOWN].decode("utf-8", "replace").strip())
    kind = _kind(status, "never")
    if 300 <= status < 400:
        return UsageError(f"the server answered {status}: it sends us elsewhere", hint="give the final address")
    return kind(f"the server answered {status}{': ' if said else ''}{said}", after=after)


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
