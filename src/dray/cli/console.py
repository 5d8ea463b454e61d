"""The terminal: encodings, colour and whether anybody is looking."""

import os
import sys
from collections.abc import Mapping
from typing import TextIO


class OutputClosed(Exception):
    """Whoever read the output went away; Click would turn a BrokenPipeError into exit code 1."""


def prepare(streams: tuple[TextIO, ...] = ()) -> None:
    """Let no character of a name break the output, on consoles of any code page."""
    for stream in streams or (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether colour may be used: a terminal, NO_COLOR not set (https://no-color.org), TERM not ``dumb``."""
    return moves(stream, environ) and not environ.get("NO_COLOR")


def moves(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether the stream is a terminal whose cursor can be moved, so that bars can be drawn."""
    return stream.isatty() and environ.get("TERM") != "dumb"


def journaled(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether the stream goes to the journal of systemd, which then understands priorities (systemd.exec(5))."""
    try:
        seen = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def silence_stdout() -> None:
    """Point standard output at nothing, so that the interpreter does not complain of a closed pipe when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError):
        return  # no real file behind it, then nothing complains
    finally:
        os.close(nothing)
