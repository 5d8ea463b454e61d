"""``dray doctor``."""

import click

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column, Listing
from dray.cli.doctor import local, remote
from dray.cli.doctor.finding import Finding, exit_code

OUTPUT = {"finding": Finding}

COLUMNS = (
    Column("", "verdict", width=4),
    Column("what", "check", width=15),
    Column("found", lambda f: f"{f.text}; next: {f.next_step}" if f.next_step else f.text),
)


@define(
    "doctor",
    examples=(
        "dray doctor                          # this machine and the server of the settings",
        "dray doctor http://127.0.0.1:8080    # another server",
        "dray doctor --local --json           # this machine alone",
    ),
    needs_settings=False,
)
@click.argument("where", required=False, metavar="[URL]")
@click.option("--local", "only_local", is_flag=True, help="Do not ask a server.")
def command(app: App, where: str | None, only_local: bool) -> int:
    """Find out what is wrong here or on the way to the server.

    Each line is ok, warn or fail, with the next step. The exit code is that of the first failure; warnings alone are 0.
    """
    with app.display.listing("finding", COLUMNS) as listing:
        found = [_add(listing, finding) for finding in local.findings(app)]
        if not only_local and not exit_code(found):
            found += app.run(lambda stop: _remote(app, where, listing), resume=None)
    return exit_code(found)


def _add(listing: Listing, finding: Finding) -> Finding:
    listing.add(finding)
    return finding


async def _remote(app: App, where: str | None, listing: Listing) -> list[Finding]:
    return [_add(listing, finding) async for finding in remote.findings(app, where)]
