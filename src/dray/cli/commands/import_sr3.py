"""``dray import-sr3``."""

from pathlib import Path

import click
import msgspec

from dray.cli.command import define
from dray.cli.context import App
from dray.cli.display import Column
from dray.cli.exits import OK, PARTIAL


class NotTaken(msgspec.Struct, frozen=True):
    """An option of Sarracenia that was not taken over, or only in part, and where it stands."""

    where: str
    option: str
    why: str


class Written(msgspec.Struct, frozen=True):
    """The settings that came of it, as TOML."""

    toml: str


OUTPUT = {"sr3.missed": NotTaken, "sr3.missed.summary": Written}
COLUMNS = (Column("not taken over", "option"), Column("where", "where"), Column("why", "why"))


@define(
    "import-sr3",
    examples=(
        "dray import-sr3 ~/.config/sr3                                   # look at it",
        "dray import-sr3 ~/.config/sr3 > ~/.config/dray/config.toml      # take it",
    ),
    needs_settings=False,
)
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
def command(app: App, directory: str) -> int:
    """Write settings that do what watches and senders of Sarracenia (sr3) did, and say what could not be taken over.

    A watch and the sender that takes its messages become one hot directory, without a broker between them. Nothing is
    changed. Exit code 11: something was not understood; it is in the comments, too.
    """
    from dray.config.sr3.convert import convert
    from dray.config.sr3.read import read
    from dray.config.sr3.write import toml

    imported = convert(read(Path(directory).expanduser()))
    lines = list(toml(imported))
    missed = [NotTaken(*one) for one in imported.missed]
    if app.display.output == "text":
        for line in lines:
            app.display.line(line)
        for one in missed:
            app.display.warn(f"not taken over: {one.where} {one.option} ({one.why})")
    else:
        with app.display.listing("sr3.missed", COLUMNS, "") as listing:
            for one in missed:
                listing.add(one)
            listing.summary(Written("\n".join(lines) + "\n"))
    return PARTIAL if missed else OK
