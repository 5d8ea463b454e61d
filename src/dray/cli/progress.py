"""Shows how a move goes: bars on a terminal, lines elsewhere, events with --jsonl, nothing with -q."""

import threading
from abc import abstractmethod
from contextlib import suppress

from dray.cli.console import OutputClosed
from dray.cli.display import Display
from dray.cli.gauge import Progress, outcome_event, sentence
from dray.cli.meter import Reading
from dray.clock import Clock, SystemClock
from dray.model.values import Outcome

BEAT = 2.0
"""Seconds between two signs of life where there is no terminal."""


class Silent(Progress):
    """Shows nothing."""

    def start(self) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class Beating(Progress):
    """Says something every BEAT seconds from a thread of its own, also while the event loop is busy."""

    def __init__(self, title: str, display: Display, clock: Clock, beat: float = BEAT) -> None:
        super().__init__(title, display, clock)
        self._beat = beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="progress", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it was printing is printed."""
        self._ended.set()
        self._thread.join()

    def _live(self) -> None:
        # When nobody reads any more, the next line of the command itself ends it.
        with suppress(OutputClosed, OSError):
            while not self._ended.wait(self._beat):
                self.say(self.reading())

    @abstractmethod
    def say(self, reading: Reading) -> None:
        """Print one sign of life."""


class Lines(Beating):
    """A line on stderr."""

    def say(self, reading: Reading) -> None:
        """Print one line."""
        self.display.note(sentence(reading))


class Events(Beating):
    """An event ``progress`` on stdout, and one ``file.outcome`` for each file as it ends."""

    def say(self, reading: Reading) -> None:
        """Print one event."""
        self.display.event("progress", reading)

    def outcome(self, outcome: Outcome) -> None:
        """Count the file and print its event."""
        super().outcome(outcome)
        self.display.event("file.outcome", outcome_event(outcome))

    def stop(self) -> None:
        """End the thread and print the final state."""
        super().stop()
        self.say(self.reading())


def choose(title: str, display: Display, clock: Clock | None = None) -> Progress:
    """Return the form of progress that suits where the output goes."""
    clock = clock or SystemClock()
    if display.look.quiet:
        return Silent(title, display, clock)
    if display.output == "jsonl":
        return Events(title, display, clock)
    if display.look.moves:
        from dray.cli.bars import Bars

        return Bars(title, display, clock)
    return Lines(title, display, clock)
