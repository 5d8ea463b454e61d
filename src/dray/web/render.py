"""Renders the pages: templates, how values are written, addresses below the server's prefix."""

from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from dray.model.names import printable
from dray.web import words

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.runtime import Context

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
STATIC = {"dray.css": "text/css", "live.js": "text/javascript", "dray.svg": "image/svg+xml"}


class Renderer:
    """Makes answers of templates; ``prefix`` is the path under which others reach this server."""

    def __init__(self, version: str, prefix: str) -> None:
        self._version = version
        self._prefix = prefix.rstrip("/")

    def at(self, path: str, **query: str) -> str:
        """Return the address of a page of ours."""
        return self._prefix + path + (f"?{urlencode(query)}" if query else "")

    def page(self, template: str, status: int, values: Mapping[str, object]) -> HTMLResponse:
        """Return a page; names in ``values`` are escaped by the template."""
        text = self._environment.get_template(template).render(values, version=self._version)
        headers = {"content-security-policy": POLICY, "cache-control": "no-store"}
        return HTMLResponse(text, status, headers)

    @cached_property
    def _environment(self) -> "Environment":
        from jinja2 import Environment, PackageLoader, StrictUndefined  # a part of a second at start otherwise

        environment = Environment(
            loader=PackageLoader("dray.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        environment.globals["at"] = self.at
        environment.filters |= {
            "ago": _ago(),
            "basename": words.basename,
            "clock": words.clock,
            "event": words.event,
            "iso": words.iso,
            "number": words.number,
            "printable": printable,
            "shell": quote,
            "size": words.size,
            "state": words.state,
        }
        return environment


def _ago() -> object:
    from jinja2 import pass_context

    @pass_context
    def ago(context: "Context", at: float) -> str:
        return words.ago(at, context["now"])

    return ago


def static(name: str) -> Response | None:
    """Return one of the files that belong to the pages."""
    if name not in STATIC:
        return None
    data = resources.files("dray.web").joinpath("static", name).read_bytes()
    return Response(data, media_type=STATIC[name], headers={"cache-control": "public, max-age=300"})
