"""``dray up``."""

import click

from dray.cli.command import define
from dray.cli.context import App


@define(
    "up",
    examples=(
        "dray up                                   # on 127.0.0.1:8080, data in ./dray-data",
        "dray up --data /srv/dray --listen 0.0.0.0:8080",
    ),
)
@click.option("--data", metavar="DIR", help="Directory of database, store and admin token; made when missing.")
@click.option("--listen", metavar="HOST:PORT", help="Address to listen on; port 0 takes a free one.")
def command(app: App, data: str | None, listen: str | None) -> int:
    """Start everything in one process: API, web page, worker, store.

    The first start writes an administrator's token into the data directory and says where it is. SIGTERM or Ctrl-C
    finishes what runs; a second one stops now.
    """
    from dray.cli.serving import serve
    from dray.wiring.server import run_up

    return serve(app, run_up, data=data, listen=listen)
