"""Progress on a terminal."""

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dray.cli import format
from dray.cli.display import Display
from dray.cli.gauge import PHASES, Progress, amounts, doing
from dray.clock import Clock
from dray.model.names import printable

ROWS = 4
"""Files shown one by one below the bar."""


class Bars(Progress):
    """A bar with amounts, what is going on, and a few of the files on the way."""

    def __init__(self, title: str, display: Display, clock: Clock) -> None:
        super().__init__(title, display, clock)
        console = Console(file=display.err, highlight=False, markup=False, no_color=not display.look.colour)
        self._voice = display.voice
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=5)

    def start(self) -> None:
        """Start to draw; what is said meanwhile goes above the bar."""
        self._live.start()
        self.display.voice = lambda text: self._live.console.print(text, soft_wrap=True)

    def stop(self) -> None:
        """Draw the last state and leave it there."""
        self.display.voice = self._voice
        self._live.stop()

    def render(self) -> Group:
        """Draw the present state."""
        reading = self.reading()
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(reading.bytes_total, 1), completed=reading.bytes, width=24)
        line.add_row(reading.title, bar, ", ".join(part for part in amounts(reading) if part))
        now = doing(reading)
        return Group(line, *([Text(f"  {now}")] if now else []), *self._files())

    def _files(self) -> list[Text]:
        moving = [(path, phase) for path, phase in list(self.meter.live.items()) if self.meter.moved_of.get(path)]
        return [Text(self._file(path, phase), no_wrap=True, overflow="ellipsis") for path, phase in moving[:ROWS]]

    def _file(self, path: str, phase: str) -> str:
        return f"  {PHASES.get(phase, phase):<10} {format.size(self.meter.moved_of[path]):>9}  {printable(path)}"
