"""``dray token``: make, list and revoke tokens."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from dray.cli import format
from dray.cli.command import define, define_group
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.reach import reach
from dray.client.api import Api
from dray.clock import SystemClock
from dray.config.parse import parse_duration
from dray.errors import Refused, UsageError
from dray.fs import DISK
from dray.model.views import TokenRequest, TokenView

OUTPUT = {"token": TokenView}
T = TypeVar("T")

COLUMNS = (
    Column("token", "token", right=True),
    Column("name", "name"),
    Column("begins", "prefix"),
    Column("may", lambda t: ", ".join(t.scopes)),
    Column("datasets", lambda t: ", ".join(t.datasets) or "all"),
    Column("created", lambda t: format.when(t.created)),
    Column("expires", lambda t: format.when(t.expires)),
    Column("last used", lambda t: format.when(t.last_used)),
    Column("revoked", lambda t: format.when(t.revoked)),
)


@define(
    "create",
    examples=(
        "dray token create microscope-3 --scope write --dataset 'run*' --expires 90d --save microscope-3.token",
        "dray token create reader --scope read --json",
    ),
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(["read", "write", "create", "admin"]),
    help="What it may do; repeat it. admin implies the others, create is to make datasets.",
)
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this dataset, or NAME*; repeat it.")
@click.option("--expires", metavar="TIME", help="How long it is valid: 90d, 12h. Default: for ever.")
@click.option("--save", metavar="FILE", help="Write the secret into a new file of mode 0600 instead of showing it.")
def create(
    app: App, name: str, scopes: tuple[str, ...], datasets: tuple[str, ...], expires: str | None, save: str | None
) -> None:
    """Make a token. Its secret is shown (or saved) once, now; nobody can show it again."""
    until = SystemClock().wall() + parse_duration(expires) if expires else None
    request = msgspec.convert(
        {"name": name, "scopes": list(dict.fromkeys(scopes)), "datasets": list(datasets), "expires": until},
        TokenRequest,
    )
    with _new_file(save) if save else nullcontext() as file:
        made = _call(app, lambda api: api.create_token(request))
        if file is not None:
            DISK.write(file, f"{made.secret}\n".encode())
            DISK.sync(file)
            made = msgspec.structs.replace(made, secret=msgspec.UNSET)
    secret = Column("secret", lambda t: f"saved in {save}" if save else t.secret)
    app.display.record("token", made, [*COLUMNS[:7], secret])


@contextmanager
def _new_file(path: str) -> Iterator[int]:
    """Make a file before the token, so that no secret is lost for want of a place; without a token it goes again."""
    place = Path(path).expanduser()
    try:
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError("the file exists already", item=path, hint="give the name of a new one") from None
    try:
        yield file
    except BaseException:
        os.close(file)
        place.unlink()
        raise
    os.close(file)


@define("list", examples=("dray token list", "dray token list --json"))
def list_tokens(app: App) -> None:
    """List the tokens of the server; their secrets are not known to it."""
    page = _call(app, lambda api: api.tokens())
    app.display.rows("token", page.items, COLUMNS, empty="there are no tokens")


@define("revoke", examples=("dray token revoke 7 --yes",))
@click.argument("token", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(app: App, token: int, yes: bool) -> None:
    """Make a token invalid at once; TOKEN is its number in the list."""
    if not yes and not _confirmed(app, token):
        raise Refused("not confirmed", hint="nothing was changed; use --yes where nobody can answer")
    revoked = _call(app, lambda api: api.revoke_token(token))
    app.display.record("token", revoked, [COLUMNS[0], COLUMNS[1], COLUMNS[8]])


def _confirmed(app: App, token: int) -> bool:
    return app.can_ask() and click.confirm(f"revoke token {token} for good?", err=True)


def _call(app: App, ask: Callable[[Api], Awaitable[T]]) -> T:
    async def story(stop: object) -> T:
        async with reach(app, None) as there:
            return await ask(there.api)

    return app.run(story)


command = define_group(
    "token",
    [create, list_tokens, revoke],
    help="Make, list and revoke tokens.",
    examples=("dray token create reader --scope read", "dray token list", "dray token revoke 7 --yes"),
)
