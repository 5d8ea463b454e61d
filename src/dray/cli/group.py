"""The root command: knows its sub-commands from a table and imports one only when it is used."""

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from dray.cli.table import Entry, Section

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A group whose help, completion and suggestions come from the table alone."""

    def __init__(self, *, sections: Sequence[Section], name: str, help: str) -> None:
        super().__init__(
            name, help=help, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
        )
        self.sections = sections
        self.entries = {entry.name: entry for section in sections for entry in section.entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        return load(entry) if entry else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.entries and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}.{_suggestion(args[0], self.entries)}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        for section in self.sections:
            with formatter.section(section.title):
                formatter.write_dl([(entry.name, entry.help) for entry in section.entries], col_spacing=3)
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in ROOT_EXAMPLES))
        with formatter.section("Options, before or after the command"):
            formatter.write_dl([record for option in self.get_params(ctx) if (record := option.get_help_record(ctx))])
        formatter.write("\nEvery command has --help of its own. Exit codes and all options: docs/cli.md.\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        names = [CompletionItem(e.name, help=e.help) for e in self.entries.values() if e.name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


ROOT_EXAMPLES = (
    "dray up --data /srv/dray                            # start a server here",
    "dray login http://127.0.0.1:8080                    # sign in once",
    "dray upload run7/ http://127.0.0.1:8080/run7        # send a directory",
    "dray watch /instrument http://127.0.0.1:8080/run7   # send what appears",
    "dray safe /instrument                               # may it be deleted?",
)


def load(entry: Entry) -> click.Command:
    """Import one command."""
    module, _, attribute = entry.target.partition(":")
    found = getattr(import_module(f"dray.cli.commands.{module}"), attribute)
    if not isinstance(found, click.Command):
        raise TypeError(f"{entry.target} is not a command")
    return found


def _suggestion(name: str, known: "dict[str, Entry]") -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
