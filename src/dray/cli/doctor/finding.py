"""What one look of ``dray doctor`` found."""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from dray.cli.exits import OK
from dray.cli.failure import translate
from dray.errors import DrayError

Verdict = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; ``exit`` is the exit code of a failure."""

    check: str
    verdict: Verdict
    text: str
    next_step: str = ""
    exit: int = OK


def ok(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, next_step: str) -> Finding:
    """Return that something is odd but works."""
    return Finding(check, "warn", text, next_step)


def fail(check: str, error: DrayError, next_step: str = "") -> Finding:
    """Return that something is broken."""
    text = f"{error.item}: {error.message}" if error.item else error.message
    return Finding(check, "fail", text, next_step or error.hint, error.exit_code)


def look(check: str, looker: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Run one look; a known failure in it is its finding."""
    try:
        return list(looker())
    except (DrayError, OSError) as error:
        known = translate(error) or DrayError(str(error))
        return [fail(check, known)]


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the exit code of the first failure, 0 when there is none."""
    return next((one.exit for one in findings if one.verdict == "fail"), OK)
