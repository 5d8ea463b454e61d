"""What one operation of the API is: a row of the table in ``operations``."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from starlette.requests import Request
from starlette.types import ASGIApp

from dray.api.parsing import Parameters, base_url
from dray.api.problems import MediaRefused, MethodRefused
from dray.api.services import Services
from dray.core.access import Principal
from dray.errors import (
    Busy,
    Denied,
    Disconnected,
    DrayError,
    LimitReached,
    NotFound,
    Refused,
    Temporary,
    Unauthenticated,
    UsageError,
)
from dray.model.views import Scope, Wire

W = TypeVar("W")
B = TypeVar("B")
JSON = "application/json"


class Nothing(Wire, frozen=True, kw_only=True):
    """No parameters."""


@dataclass(frozen=True)
class Call(Generic[W, B]):
    """One call of an operation, with everything in it typed and allowed."""

    services: Services
    who: Principal
    where: W
    body: B
    request: Request

    @property
    def base(self) -> str:
        """Return the address of this server as the caller knows it, without trailing slash."""
        return base_url(self.request, self.services.about.url)


@dataclass(frozen=True, kw_only=True)
class Described:
    """A method and path of the API: what it takes, what it answers, how it can fail, who may call it.

    ``where`` holds the parameters of path and query, ``body`` the JSON body. ``answer`` is a shape, or a JSON schema
    where the answer is no JSON of ours. ``batch`` answers hold an item of ``answer`` or a problem for each item asked.
    ``also`` are further answers: status, meaning and content type. ``scope`` ``any`` takes every token, None no token.
    """

    name: str
    method: str
    path: str
    summary: str
    answer: Any
    scope: Scope | Literal["any"] | None = "read"
    where: type[Any] = Nothing
    body: Any = None
    batch: bool = False
    status: int = 200
    problems: tuple[type[DrayError], ...] = ()
    also: tuple[tuple[int, str, str | None], ...] = ()
    takes: str = JSON
    gives: str = JSON
    headers: tuple[dict[str, Any], ...] = ()

    @property
    def in_path(self) -> tuple[str, ...]:
        """Return the names of the parameters in the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def repeatable(self) -> bool:
        """Say whether it takes an Idempotency-Key."""
        return self.method == "POST" and self.takes == JSON == self.gives

    def all_problems(self) -> tuple[type[DrayError], ...]:
        """Return its own failures and those that come with having a token, parameters, or a body."""
        found: list[type[DrayError]] = [UsageError, MethodRefused, Temporary, *self.problems]
        found += [Unauthenticated, Denied] if self.scope else []
        found += [NotFound] if self.in_path else []
        found += [Refused, LimitReached, MediaRefused, Disconnected] if self.body is not None else []
        found += [Busy] if self.repeatable else []
        return tuple(dict.fromkeys(found))


def as_it_is(answer: Any) -> Any:
    return answer


@dataclass(frozen=True, kw_only=True)
class Operation(Described):
    """A JSON operation: ``run`` does it. ``kept`` makes what is stored for a repeated request of the answer.

    ``seconds`` is how long it may take.
    """

    run: Callable[[Any], Awaitable[Any]]
    kept: Callable[[Any], Any] = as_it_is
    seconds: float = 60.0
    parameters: Parameters[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", Parameters(self.where, self.in_path))


@dataclass(frozen=True, kw_only=True)
class ByteRoute(Described):
    """A route of bytes, which ``make`` makes an application of its own for."""

    make: Callable[[Services], ASGIApp]
