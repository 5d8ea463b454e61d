"""How a command is defined: its examples, and the options that every command has."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from dray.cli.context import App

F = TypeVar("F", bound=Callable[..., int | None])


class DrayCommand(click.Command):
    """A command with examples in its help; it gets the App as first argument and may return an exit code."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), needs_settings: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.needs_settings = needs_settings

    def invoke(self, ctx: click.Context) -> Any:
        if self.needs_settings:
            ctx.ensure_object(App).start_logging()
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and not isinstance(p, CommonOption)]
        shown = [option.get_help_record(ctx) for option in own]
        with formatter.section("Options"):
            formatter.write_dl([record for record in shown if record])
        with formatter.section("Common options (see dray --help)"):
            formatter.write_text(" ".join(p.opts[0] for p in self.params if isinstance(p, CommonOption)))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)


APART = "common_"
"""Begin of the parameter names of common options, so that a command may have a parameter ``url``."""


class CommonOption(click.Option):
    """An option taken before and after the command's name; its value goes into the App."""


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    app = ctx.ensure_object(App)
    if value not in (None, False, 0) and param.name:
        app.choices.set(param.name.removeprefix(APART), value)


def _common(*flags: str, **more: Any) -> CommonOption:
    name = flags[-1].removeprefix("--").replace("-", "_")
    return CommonOption((*flags, APART + name), expose_value=False, callback=_remember, **more)


def common_options() -> list[click.Option]:
    """Make the options that every command has."""
    return [
        _common("--json", is_flag=True, help="Print one JSON document instead of text."),
        _common("--jsonl", is_flag=True, help="Print JSON lines while it happens instead of text."),
        _common("-q", "--quiet", is_flag=True, help="Say nothing but results and errors."),
        _common("-v", "--verbose", count=True, help="Say more; -vv says everything, with tracebacks."),
        _common("--config", metavar="FILE", help="Read this settings file instead of the user's own."),
        _common("--url", metavar="URL", help="Address of the server, over client.url."),
        _common("--token-file", metavar="FILE", help="File that holds the token, readable by you alone."),
        _common(
            "--log-format", type=click.Choice(["text", "json"]), help="How messages look on stderr and in the log."
        ),
        _common("--log-file", metavar="FILE", help="Write the log there as well, with rotation."),
    ]


def define(
    name: str, *, examples: Sequence[str], needs_settings: bool = True, **more: Any
) -> Callable[[F], DrayCommand]:
    """Turn a function ``(app, ...) -> exit code or None`` into a command; its docstring is the help.

    ``needs_settings=False`` is for commands that must work when the settings are broken.
    """

    def decorate(function: F) -> DrayCommand:
        make = click.command(name, cls=DrayCommand, examples=examples, needs_settings=needs_settings, **more)
        made = make(click.make_pass_decorator(App, ensure=True)(function))
        made.params.extend(common_options())
        return made

    return decorate


class DrayGroup(click.Group):
    """A command with sub-commands, each of them a DrayCommand."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": True, **kwargs})
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)


def define_group(name: str, commands: Sequence[click.Command], *, help: str, examples: Sequence[str]) -> DrayGroup:
    """Gather commands under one name."""
    group = DrayGroup(name, help=help, examples=examples)
    for command in commands:
        group.add_command(command)
    return group


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in examples))
