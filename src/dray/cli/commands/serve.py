"""``dray serve``."""

import click

from dray.cli.command import define
from dray.cli.context import App


@define(
    "serve", examples=("dray serve --data /srv/dray --listen 0.0.0.0:8080   # with database.url set to PostgreSQL",)
)
@click.option("--data", metavar="DIR", help="Directory of store and keys, shared with the workers.")
@click.option("--listen", metavar="HOST:PORT", help="Address to listen on; port 0 takes a free one.")
def command(app: App, data: str | None, listen: str | None) -> int:
    """Start the API and the web page alone, beside workers.

    Needs a PostgreSQL database (database.url), and a data directory that the workers share.
    """
    from dray.cli.serving import serve_shared
    from dray.wiring.server import run_serve

    return serve_shared(app, run_serve, data=data, listen=listen)
