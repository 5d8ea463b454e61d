"""The native API as one ASGI application, routed by the table of operations."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from dray.api.endpoints import Endpoint
from dray.api.operation import ByteRoute, Described, Operation
from dray.api.operations import OPERATIONS
from dray.api.problems import title
from dray.api.services import Services
from dray.errors import NotFound, error_classes

BELOW = ("/api/", "/files/", "/health/", "/metrics/", "/problems/")
ALONE = ("/api", "/health", "/metrics")
"""Where this application lives; every other path is somebody else's (/files without more is a page)."""


def make_app(services: Services) -> ASGIApp:
    """Return the application; what it raises is answered by ``Front``."""
    paths: dict[str, list[Described]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, []).append(operation)
    # A fixed path goes before one with a parameter: /uploads/bundle is no upload.
    routes = [Route(path, _endpoint(paths[path], services)) for path in sorted(paths, key=lambda path: "{" in path)]
    routes.append(Route("/problems/{code}", explain))
    return Router(routes, redirect_slashes=False, default=nowhere)


def _endpoint(described: Sequence[Described], services: Services) -> ASGIApp:
    routes = [one for one in described if isinstance(one, ByteRoute)]
    if routes:
        return routes[0].make(services)
    return Endpoint([one for one in described if isinstance(one, Operation)], services)


async def explain(request: Request) -> Response:
    """Say what a problem means, at the address that is its type."""
    kind = error_classes().get(request.path_params["code"])
    if kind is None:
        raise NotFound("there is no such problem", item=request.path_params["code"][:200])
    retry = "it may pass by itself" if kind.retry == "later" else "the same request will fail again"
    text = (
        f"{kind.code}: {title(kind)}.\nHTTP {kind.status}, exit code {kind.exit_code} of the command line; {retry}.\n"
    )
    return PlainTextResponse(text)


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that means nothing."""
    raise NotFound("there is nothing at this address", item=scope["path"][:200], hint="see docs/api.md")


def belongs(path: str) -> bool:
    """Say whether a path is the API's."""
    return path in ALONE or path.startswith(BELOW)
