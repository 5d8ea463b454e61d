"""What ``dray doctor`` looks at on the way to the server."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from urllib.parse import urlsplit

from dray.cli import format
from dray.cli.context import App
from dray.cli.doctor.finding import Finding, fail, ok, warn
from dray.cli.reach import address, http_settings, token
from dray.client.address import Address
from dray.client.api import Api, Server, find_server
from dray.client.http import Http, Request
from dray.clock import SystemClock
from dray.errors import Denied, DrayError, NotFound, Unreachable, UsageError
from dray.model.views import Me

LOOPBACK = ("127.", "localhost", "::1")
SKEW_ODD, SKEW_BAD = 5.0, 300.0
"""Seconds: a Date header is exact to one; signed addresses live for some minutes."""

SLOW = 1.0
CERTIFICATE_SOON = 14 * 86400.0
CLOCK = SystemClock()


async def findings(app: App, where: str | None) -> AsyncIterator[Finding]:
    """Yield what was found on the way to a server, each step only when the one before went well."""
    if not where and not app.settings.client.url:
        yield warn("server", "none is named", "give its address, or set it once: url below [client] in config.toml")
        return
    try:
        target = address(app, where)
        yield await _resolve(target)
        if target.origin.startswith("https:"):
            yield await _certificate(target, app.settings.client.ca_file)
        else:
            yield _plain(target)
        async with Http(http_settings(app)) as http:
            server = await find_server(http, target)
            async for finding in _talk(app, http, server):
                yield finding
    except DrayError as error:
        yield fail("server", error)


async def _talk(app: App, http: Http, server: Server) -> AsyncIterator[Finding]:
    yield _version(server)
    for finding in await _answer(http, server):
        yield finding
    try:
        yield _me(await Api(http, server, token(app, server.url)).me())
    except Denied as error:
        yield fail("token", error, f"dray login {server.url}")


async def _resolve(target: Address) -> Finding:
    parts = urlsplit(target.origin)
    began = CLOCK.monotonic()
    addresses = await asyncio.to_thread(_addresses, parts.hostname or "", parts.port)
    took = format.duration(CLOCK.monotonic() - began)
    return ok("name", f"{parts.hostname} is {', '.join(addresses)} (asked for {took})")


def _addresses(host: str, port: int | None) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        text = f"no address is known: {error.strerror}"
        raise NotFound(text, item=host, hint="check the name and the DNS") from error
    return sorted({str(one[4][0]) for one in found})


def _plain(target: Address) -> Finding:
    host = urlsplit(target.origin).hostname or ""
    if host.startswith(LOOPBACK):
        return ok("encryption", "none, which is fine on this machine")
    return warn("encryption", "none: tokens and data can be read on the way", "use https, by a proxy before the server")


async def _certificate(target: Address, ca_file: str | None) -> Finding:
    parts = urlsplit(target.origin)
    try:
        left = await asyncio.to_thread(_certificate_left, parts.hostname or "", parts.port or 443, ca_file)
    except ssl.SSLError as error:
        text = f"the certificate is not trusted: {error.reason or error}"
        return fail(
            "encryption", Denied(text, item=target.origin), "set ca_file below [client], or mend the certificate"
        )
    except OSError as error:
        raise Unreachable(str(error), item=target.origin, hint="is the server running?") from error
    text = f"TLS, the certificate is valid for {format.duration(left)}"
    return ok("encryption", text) if left > CERTIFICATE_SOON else warn("encryption", text, "renew it")


def _certificate_left(host: str, port: int, ca_file: str | None) -> float:
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection((host, port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=host) as tls,
    ):
        ends = str((tls.getpeercert() or {}).get("notAfter", ""))
    return ssl.cert_time_to_seconds(ends) - CLOCK.wall()


def _version(server: Server) -> Finding:
    own = version("dray")
    text = f"{server.url} answers, Dray {server.version}"
    if own == server.version:
        return ok("server", text)
    return warn("server", f"{text}; this is {own}", "use the same version on both sides")


async def _answer(http: Http, server: Server) -> list[Finding]:
    before, began = CLOCK.wall(), CLOCK.monotonic()
    response = await http.send(Request("GET", f"{server.url}/health"))
    took = CLOCK.monotonic() - began
    text = f"the first byte came after {format.duration(took)}"
    quick = (
        ok("answer", text) if took < SLOW else warn("answer", text, "look at the network and the load of the server")
    )
    return [quick, _skew(response.headers.get("date"), before + took / 2)]


def _skew(date: str | None, here: float) -> Finding:
    if not date:
        return warn("clock", "the server sends no Date", "a proxy may have removed it")
    skew = here - parsedate_to_datetime(date).timestamp()
    text = f"the clocks differ by {format.duration(abs(skew))}"
    if abs(skew) < SKEW_ODD:
        return ok("clock", text)
    step = "set both clocks by NTP; this one is " + ("ahead" if skew > 0 else "behind")
    return fail("clock", UsageError(text), step) if abs(skew) >= SKEW_BAD else warn("clock", text, step)


def _me(me: Me) -> Finding:
    datasets = ", ".join(me.datasets) or "all datasets"
    return ok("token", f"valid: {me.name} may {', '.join(me.scopes)} ({datasets})")
