"""From what a user writes to a server that is signed in to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from dray.cli.context import App
from dray.cli.credentials import Credentials, normal
from dray.client.address import Address, Place, is_address, parse, place
from dray.client.api import Api, find_server
from dray.client.http import Http, HttpSettings
from dray.client.rate import Rate
from dray.config.secrets import read_secret
from dray.errors import Unauthenticated, UsageError


class Reached(msgspec.Struct, frozen=True):
    """A server that answers, and the rest of the address: a dataset and path, or None when it names the server."""

    api: Api
    place: Place | None

    def dataset(self) -> Place:
        """Return the rest of the address, or raise UsageError where it names no dataset."""
        if self.place is None:
            server = self.api.server.url
            raise UsageError("the address names no dataset", item=server, hint=f"add one: {server}/DATASET")
        return self.place


def address(app: App, text: str | None) -> Address:
    """Read an address; without a server in it, it is a dataset on that of the settings, else of the only login."""
    if text and is_address(text):
        return parse(text)
    base = app.settings.client.url or _only_login()
    if not base:
        what = f"{text!r} names no server" if text else "no server is named"
        raise UsageError(what, hint="give its address, or set it once: DRAY_URL, or url below [client] in config.toml")
    return parse(f"{base.rstrip('/')}/{quote(text)}" if text else base)


def _only_login() -> str | None:
    servers = list(Credentials().all())
    return servers[0] if len(servers) == 1 else None


@asynccontextmanager
async def reach(
    app: App, text: str | None, rate: Rate | None = None, parallel: int | None = None
) -> AsyncIterator[Reached]:
    """Find the server that an address names and sign in with the token that belongs to it.

    ``rate`` limits bytes, ``parallel`` is how many connections carry them instead of what the settings say.
    """
    where = address(app, text)
    settings = http_settings(app)
    async with Http(msgspec.structs.replace(settings, connections=parallel or settings.connections), rate) as http:
        server = await find_server(http, where)
        rest = len(where.segments) > server.prefix
        yield Reached(
            Api(http, server, token(app, server.url)), place(where, server.url, server.prefix) if rest else None
        )


def http_settings(app: App) -> HttpSettings:
    """Return how to connect, as the settings say."""
    client = app.settings.client
    return HttpSettings(
        ca_file=client.ca_file,
        connections=client.parallel,
        connect=max(round(client.connect_timeout), 1),
        stall=max(round(client.stall_timeout), 1),
    )


def token(app: App, server: str) -> str:
    """Return the token for ``server``, which goes to no other server.

    ``--token-file``, then DRAY_TOKEN, then client.token_file: these belong to the server of the settings, when one is
    set there; then what ``dray login`` stored.
    """
    base = app.settings.client.url
    own = not base or normal(base) == normal(server) or app.choices.token_file is not None
    found = (_given(app) if own else None) or _stored(server)
    if not found:
        raise Unauthenticated("not signed in to this server", item=server, hint=f"dray login {server}")
    return found


def _given(app: App) -> str | None:
    file = app.settings.client.token_file
    if file and (app.choices.token_file or not app.environ.get("DRAY_TOKEN")):
        return read_secret(Path(file).expanduser())
    return app.environ.get("DRAY_TOKEN")


def _stored(server: str) -> str | None:
    credential = Credentials().get(server)
    return credential.token if credential else None
