"""``dray host``: which SSH hosts are trusted."""

from collections.abc import Sequence

import click

from dray.cli.command import define, define_group
from dray.cli.context import App
from dray.cli.display import Column
from dray.client.elsewhere import parse_sftp
from dray.errors import HostKeyRefused, Refused
from dray.wiring.sftp import Keys, Shown, keys_of

OUTPUT = {"host.key": Shown}

COLUMNS = (
    Column("host", "host"),
    Column("key", "kind"),
    Column("fingerprint", "fingerprint"),
    Column("standing", "standing"),
)


@define(
    "trust",
    examples=(
        "dray host trust hpfx                                    # shows its fingerprints and asks",
        "dray host trust hpfx --fingerprint SHA256:uNiVztksCs... # the one that its administrator told you",
    ),
)
@click.argument("host", metavar="HOST")
@click.option("--yes", is_flag=True, help="Do not ask about a host that is not known yet.")
@click.option("--fingerprint", metavar="SHA256:...", help="Trust exactly this key, or fail.")
def trust(app: App, host: str, yes: bool, fingerprint: str | None) -> None:
    """Show the keys of an SSH host and trust them from now on, in the known_hosts file that ssh reads.

    HOST is what ssh takes: a name, user@name, a Host of ~/.ssh/config, or sftp://host:port. A key that took the place
    of a trusted one is only trusted when its fingerprint is given, or somebody answers the question.
    """
    keys = app.run(lambda stop: keys_of(parse_sftp(host), app.settings.ssh))
    app.display.rows("host.key", keys.shown, COLUMNS, empty="the host shows no keys")
    wanted = _wanted(keys, fingerprint)
    if all(key.standing == "trusted" for key in wanted):
        app.display.note("trusted already; nothing was changed")
        return
    if fingerprint is None:
        _confirm(app, keys, wanted, yes=yes)
    keys.pin([key.fingerprint for key in wanted])
    app.display.note(f"trusted from now on, in {keys.file}")


def _wanted(keys: Keys, fingerprint: str | None) -> Sequence[Shown]:
    """Return the keys that are to be trusted: all, or the one that was named."""
    if fingerprint is None:
        return keys.shown
    found = [key for key in keys.shown if key.fingerprint == fingerprint.rstrip("=")]
    if not found:
        hint = "nothing was changed; somebody may be between you and the host"
        raise HostKeyRefused("it shows no key of this fingerprint", item=keys.shown[0].host, hint=hint)
    return found


def _confirm(app: App, keys: Keys, wanted: Sequence[Shown], *, yes: bool) -> None:
    changed = any(key.standing == "changed" for key in wanted)
    host = wanted[0].host
    if changed:
        app.display.warn(f"{host} showed another key before: ask its administrator before you trust this one")
    if yes and not changed:
        return
    if not app.can_ask() or not click.confirm(f"are these the fingerprints of {host}?", err=True):
        flag = "--fingerprint SHA256:..." if changed else "--fingerprint or --yes"
        raise Refused("not confirmed", item=host, hint=f"nothing was changed; {flag} where nobody can answer")


command = define_group(
    "host",
    [trust],
    help="Trust the keys of SSH hosts.",
    examples=("dray host trust hpfx",),
)
