"""``dray service``: the agent as a unit of systemd."""

import getpass
from collections.abc import Callable
from typing import TypeVar

import click
import msgspec

from dray.cli.command import define, define_group
from dray.cli.context import App
from dray.cli.daemon import Daemon, started
from dray.cli.exits import OK
from dray.wiring.service import Service, lingers

F = TypeVar("F", bound=Callable[..., object])


def _scope(function: F) -> F:
    user = click.option("--user", "scope", flag_value="user", default="user", help="A unit of yours. [default]")
    system = click.option("--system", "scope", flag_value="system", help="A unit of the system, run as --as.")
    named = click.option("--as", "account", metavar="USER", help="Account that a unit of the system runs as.")
    return user(system(named(function)))


def _service(app: App, scope: str, account: str | None) -> Service:
    return Service(scope == "system", account or "", app.choices.config)


@define(
    "install",
    examples=("dray service install", "sudo dray service install --system --as lab --config /etc/dray/config.toml"),
)
@_scope
def install(app: App, scope: str, account: str | None) -> int:
    """Write the unit, start it, and let it start at each boot."""
    from dray.wiring.hot import configured

    configured(app.loaded)
    service = _service(app, scope, account)
    service.install()
    if not account:
        Daemon(app).want(started(()))
    app.display.note(f"{service.path} runs; `dray status` shows how it does")
    user = getpass.getuser()
    if not service.system and lingers(user) is False:
        app.display.warn(
            f"linger is off for {user}: systemd stops the agent when you sign out, and starts it only when you sign in"
            f"; this mends it: sudo loginctl enable-linger {user}"
        )
    return OK


@define("uninstall", examples=("dray service uninstall",))
@_scope
def uninstall(app: App, scope: str, account: str | None) -> int:
    """Stop the agent and remove the unit; journals and settings stay."""
    service = _service(app, scope, account)
    service.uninstall()
    Daemon(app).want(lambda wanted: msgspec.structs.replace(wanted, running=False))
    app.display.note(f"{service.path} is gone")
    return OK


@define("show", examples=("dray service show", "dray service show > ~/.config/systemd/user/dray-agent.service"))
@_scope
def show(app: App, scope: str, account: str | None) -> int:
    """Print the unit; nothing is changed."""
    for line in _service(app, scope, account).text().splitlines():
        app.display.line(line)
    return OK


command = define_group(
    "service",
    [install, uninstall, show],
    help="Run the agent as a service of systemd.",
    examples=("dray service install", "dray service show --system --as lab"),
)
