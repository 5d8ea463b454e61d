"""What one operation of the API is: a row of the table in ``operations``."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from dray.api.parsing import Parameters
from dray.api.problems import MediaRefused, MethodRefused
from dray.errors import (
    Conflict,
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


class Nothing(Wire):
    """No parameters."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A method and path of the API: what it takes, what it answers, how it can fail, who may call it.

    ``where`` holds the parameters of path and query, ``body`` the JSON body; ``answer`` is a shape, or a JSON schema where
    the answer is no JSON of ours. ``batch`` answers hold an item of ``answer`` or a problem for each item asked.
    """

    name: str
    method: str
    path: str
    summary: str
    run: Callable[[Any], Awaitable[Any]]
    answer: Any
    scope: Scope | None = "read"
    where: type[Any] = Nothing
    body: Any = None
    batch: bool = False
    status: int = 200
    takes: str = JSON
    gives: str = JSON
    headers: tuple[dict[str, Any], ...] = ()
    problems: tuple[type[DrayError], ...] = ()
    in_path: tuple[str, ...] = field(init=False)
    parameters: Parameters[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_path", tuple(re.findall(r"{(\w+)}", self.path)))
        object.__setattr__(self, "parameters", Parameters(self.where, self.in_path))

    def all_problems(self) -> tuple[type[DrayError], ...]:
        """Return its own failures and those that come with having a token, parameters, or a body."""
        found: list[type[DrayError]] = [UsageError, MethodRefused, Temporary, *self.problems]
        found += [Unauthenticated, Denied] if self.scope else []
        found += [NotFound] if self.in_path else []
        found += [Refused, LimitReached, MediaRefused, Disconnected] if self.body is not None else []
        found += [Conflict] if self.method == "POST" else []
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Call(Generic[W, B]):
    """One call of an operation, with everything in it typed and allowed."""

    where: W
    body: B
