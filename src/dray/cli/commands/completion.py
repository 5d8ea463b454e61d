"""``dray completion``."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.powershell import register
from dray.errors import UsageError

SHELLS = ("bash", "zsh", "fish", "powershell")


@define(
    "completion",
    examples=(
        "dray completion bash > ~/.local/share/bash-completion/completions/dray",
        'dray completion zsh > "${fpath[1]}/_dray"',
        "dray completion fish > ~/.config/fish/completions/dray.fish",
        "dray completion powershell >> $PROFILE",
    ),
    needs_settings=False,
)
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def command(app: App, shell: str | None) -> None:
    """Print the completion script of a shell; without SHELL that of the one you use."""
    register()
    found = get_completion_class(shell or _own(app))
    if found is None:
        raise UsageError("there is no completion for this shell", hint=f"one of {', '.join(SHELLS)}")
    script = found(click.Group("dray"), {}, "dray", "_DRAY_COMPLETE").source()
    for line in script.rstrip().splitlines():
        app.display.line(line)


def _own(app: App) -> str:
    name = Path(app.environ.get("SHELL", "")).name
    return name or ("powershell" if os.name == "nt" else "bash")
