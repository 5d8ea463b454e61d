"""``dray login``."""

import sys
from pathlib import Path

import click
import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.credentials import Credential, Credentials
from dray.cli.display import Column
from dray.cli.reach import address, http_settings
from dray.client.api import Api, find_server
from dray.client.http import Http
from dray.config.secrets import read_secret
from dray.errors import UsageError

LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


class LoggedIn(msgspec.Struct, frozen=True):
    """The server that was signed in to, and whose token it is."""

    server: str
    name: str
    scopes: list[str]
    datasets: list[str]
    stored: str


OUTPUT = {"login": LoggedIn}


@define(
    "login",
    examples=(
        "dray login http://127.0.0.1:8080                     # asks for the token",
        "dray login http://127.0.0.1:8080 --token-file data/admin.token",
        "cat token | dray login https://dray.example.org",
    ),
)
@click.argument("url", required=False, metavar="[URL]")
def command(app: App, url: str | None) -> None:
    """Store the token of a server, after trying it there.

    The token is read from a prompt, from standard input, or with --token-file; never from the command line, where
    others could see it. It is kept in a file that you alone can read.
    """
    text = _token(app)
    found = app.run(lambda stop: _try(app, url, text))
    if found.server.startswith("http://") and not found.server.startswith(LOOPBACK):
        app.display.warn("this address is not encrypted: whoever is on the way can read the token")
    Credentials().put(found.server, Credential(text, found.name))
    fields = [
        Column("signed in to", "server"),
        Column("as", "name"),
        Column("may", lambda one: ", ".join(one.scopes)),
        Column("datasets", lambda one: ", ".join(one.datasets) or "all"),
    ]
    app.display.record("login", found, fields)


def _token(app: App) -> str:
    if app.choices.token_file:
        return read_secret(Path(app.choices.token_file).expanduser())
    if app.can_ask():
        return str(click.prompt("token", hide_input=True, err=True)).strip()
    text = sys.stdin.readline().strip()
    if not text:
        raise UsageError("standard input holds no token", hint="use a terminal, a pipe, or --token-file")
    return text


async def _try(app: App, url: str | None, text: str) -> LoggedIn:
    async with Http(http_settings(app)) as http:
        server = await find_server(http, address(app, url))
        me = await Api(http, server, text).me()
    return LoggedIn(server.url, me.name, list(me.scopes), me.datasets, str(Credentials().path))
