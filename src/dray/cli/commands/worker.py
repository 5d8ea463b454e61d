"""``dray worker``."""

import click

from dray.cli.command import define
from dray.cli.context import App


@define("worker", examples=("dray worker --data /srv/dray   # with database.url set to PostgreSQL",))
@click.option("--data", metavar="DIR", help="Directory of store and keys, shared with the servers.")
def command(app: App, data: str | None) -> int:
    """Start a worker alone.

    Needs the PostgreSQL database (database.url) and the data directory of the servers; any number may run.
    """
    from dray.cli.serving import serve_shared
    from dray.wiring.server import run_worker

    return serve_shared(app, run_worker, data=data, listen=None)
