"""What a command is given: the user's choices, the settings, and the ways to show something."""

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TextIO, TypeVar

from dray.cli.choices import Choices

if TYPE_CHECKING:
    from dray.cli.display import Display
    from dray.cli.gauge import Progress
    from dray.cli.interrupt import Story
    from dray.config.load import Loaded
    from dray.config.settings import Settings

T = TypeVar("T")


class App:
    """One run of the command line. Everything is made when first asked for, so that ``--help`` loads nothing."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.choices = Choices()
        self.environ = environ
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.resume: str | None = None

    @cached_property
    def loaded(self) -> "Loaded":
        """Return the settings with the origin of each value."""
        from dray.config.load import load

        return load(self.environ, flags=self.choices.flags(), file=self.choices.config)

    @property
    def settings(self) -> "Settings":
        """Return the settings."""
        return self.loaded.settings

    @cached_property
    def display(self) -> "Display":
        """Return the way to show results and notes."""
        from dray.cli import console
        from dray.cli.display import Display, Look

        look = Look(
            quiet=self.choices.quiet,
            colour=console.coloured(self.err, self.environ),
            moves=console.moves(self.err, self.environ) and not self.choices.verbose,
        )
        return Display(self.choices.output, self.out, self.err, look)

    def can_ask(self) -> bool:
        """Say whether somebody is there to answer a question."""
        return sys.stdin.isatty() and self.err.isatty()

    def progress(self, title: str) -> "Progress":
        """Return a context manager that shows how the work goes; give it to what moves as its report."""
        from dray.cli.progress import choose

        return choose(title, self.display)

    def run(self, story: "Story[T]", resume: str | None = "run the same command again to go on") -> T:
        """Run an asynchronous story with two-stage Ctrl-C; one that was asked to stop ends with exit code 130.

        ``resume`` tells the user how to go on; None is for stories that have no other end than Ctrl-C.
        """
        from dray.cli.interrupt import run

        before, self.resume = self.resume, resume
        value, stopped = run(story, self.display.warn)
        self.resume = resume if stopped else before
        return value

    def start_logging(self) -> None:
        """Set up logging as the settings and options say."""
        from dray import telemetry
        from dray.cli import console

        log = self.settings.log
        file = telemetry.LogFile(log.file, log.rotate_size, log.rotate_keep) if log.file else None
        journal = console.journaled(self.err, self.environ)
        telemetry.set_up(log.level, log.format, stream=self.err, journal=journal, file=file)
        for warning in self.loaded.warnings:
            self.display.warn(warning)
