"""``dray logout``."""

import click
import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.credentials import Credentials, normal
from dray.cli.display import Column
from dray.errors import NotFound, UsageError


class LoggedOut(msgspec.Struct, frozen=True):
    """A server whose token was forgotten."""

    server: str


OUTPUT = {"logout": LoggedOut}


@define("logout", examples=("dray logout http://127.0.0.1:8080", "dray logout --all"))
@click.argument("url", required=False, metavar="[URL]")
@click.option("--all", "everything", is_flag=True, help="Forget the tokens of all servers.")
def command(app: App, url: str | None, everything: bool) -> None:
    """Forget the stored token of a server. It stays valid until somebody revokes it (dray token revoke)."""
    credentials = Credentials()
    servers = list(credentials.all()) if everything else [_stored(app, credentials, url)]
    for server in servers:
        credentials.remove(server)
    rows = [LoggedOut(server) for server in servers]
    app.display.rows("logout", rows, [Column("forgotten", "server")], empty="no token was stored")


def _stored(app: App, credentials: Credentials, url: str | None) -> str:
    wanted = url or app.settings.client.url
    if not wanted:
        raise UsageError("no server is named", hint="give its address, or --all")
    # The address may hold a dataset behind the server's own.
    found = [server for server in credentials.all() if f"{normal(wanted)}/".startswith(f"{server}/")]
    if not found:
        raise NotFound("no token is stored for this server", item=wanted, hint="dray config path shows where they are")
    return max(found, key=len)
