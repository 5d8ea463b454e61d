"""The entry point of the command line: parses, runs one command, turns its end into an exit code."""

import json
import sys
from collections.abc import Sequence

import click

from dray.cli import console
from dray.cli.command import common_options
from dray.cli.context import App
from dray.cli.exits import INTERRUPTED, OK, UNEXPECTED
from dray.cli.group import LazyGroup
from dray.cli.table import SECTIONS

HELP = """Move research data from where it is made to where it is kept, and back out, and prove that it arrived.

Nothing is called done before its bytes were flushed where they stay, read there again and matched.
"""


def root() -> click.Group:
    """Make the root command."""
    group = LazyGroup(sections=SECTIONS, name="dray", help=HELP)
    version = click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version)
    version.help = "Show the version and exit."
    group.params.extend([*common_options(), version])
    return group


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"dray {version('dray')}")
        ctx.exit()


def main(args: Sequence[str] | None = None, app: App | None = None) -> int:
    """Run the command line and return its exit code."""
    console.prepare()
    app = app or App()
    try:
        _know_powershell(app)
        code = root().main(args, prog_name="dray", standalone_mode=False, obj=app)
        app.out.flush()
    except BaseException as error:
        return _ended(app, error)
    return _interrupted(app) if app.resume else code or OK


def _know_powershell(app: App) -> None:
    if app.environ.get("_DRAY_COMPLETE", "").startswith("powershell"):
        from dray.cli import powershell

        powershell.register()


def _ended(app: App, error: BaseException) -> int:
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, click.ClickException):
        error.show(app.err)
        return error.exit_code
    if isinstance(error, BrokenPipeError | console.OutputClosed):
        console.silence_stdout()
        return INTERRUPTED
    if isinstance(error, KeyboardInterrupt | click.Abort) or type(error).__name__ == "Interrupted":
        return _interrupted(app)
    return _failed(app, error)


def _interrupted(app: App) -> int:
    resume = app.resume or "nothing was changed"
    if app.choices.output == "text":
        print(f"dray: interrupted; {resume}", file=app.err)
    else:
        print(json.dumps({"v": 1, "event": "interrupted", "exit": INTERRUPTED, "resume": resume}), file=app.err)
    return INTERRUPTED


def _failed(app: App, error: BaseException) -> int:
    from dray.cli import failure

    known = failure.translate(error)
    if known is None:
        return _unexpected(app, error)
    lines = failure.as_text(known) if app.choices.output == "text" else [failure.as_json(known)]
    print("\n".join(lines), file=app.err)
    return known.exit_code


def _unexpected(app: App, error: BaseException) -> int:
    from dray import telemetry

    print(f"dray: unexpected failure: {telemetry.redact(repr(error))}", file=app.err)
    print(f"  {_recorded(error)}", file=app.err)
    if app.choices.verbose >= 2:
        print(telemetry.traceback_of(error), file=app.err)
    return UNEXPECTED


def _recorded(error: BaseException) -> str:
    from dray import telemetry
    from dray.config import paths

    file = paths.user_state_dir() / "crash.log"
    try:
        telemetry.record_crash(error, file)
    except OSError as second:
        return f"the details could not be written to {file} ({second.strerror}); use -vv to see them"
    return f"the details are in {file}; please report them"


if __name__ == "__main__":
    sys.exit(main())
