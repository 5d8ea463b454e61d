"""Turns whatever ended a command into a message with file, cause and next step, and an exit code."""

import json

from dray import fs
from dray.errors import DrayError, Forbidden, NoSpace, NotFound, Permanent
from dray.model.names import printable

SCHEMA = 1
HINTS: dict[type[DrayError], str] = {
    NotFound: "check the spelling of the path",
    Forbidden: "check owner and permissions",
    NoSpace: "free space, then run the same command again",
}


def translate(error: BaseException) -> DrayError | None:
    """Return the failure of our own tree that ``error`` means, or None when it is a defect of the program."""
    if isinstance(error, DrayError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for found in map(translate, error.exceptions) if found), None)
    return _translate_os(error) if isinstance(error, OSError) and error.errno else None


def _translate_os(error: OSError) -> DrayError | None:
    # Without a name it is not about a file that the user could do something about.
    found = fs.failure(error, _name(error))
    if type(found) is Permanent or not (error.filename or isinstance(found, NoSpace)):
        return None
    found.hint = HINTS.get(type(found), "")
    return found


def _name(error: OSError) -> str:
    name = error.filename
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name or "")


def as_text(error: DrayError) -> list[str]:
    """Return the lines for people: file and cause, next step, code."""
    head = f"{error.item}: {error.message}" if error.item else error.message
    lines = [f"dray: {printable(head)}"]
    if error.hint:
        lines.append(f"  next step: {printable(error.hint)}")
    if error.retry == "later":
        wait = f" in {error.after:.0f} s" if error.after else " later"
        lines.append(f"  this may pass by itself; try again{wait}")
    return [*lines, f"  code: {error.code}, exit {error.exit_code}"]


def as_json(error: DrayError) -> str:
    """Return the line for programs."""
    return json.dumps(
        {
            "v": SCHEMA,
            "event": "error",
            "code": error.code,
            "exit": error.exit_code,
            "item": error.item,
            "message": error.message,
            "hint": error.hint,
            "retry": error.retry,
            "after": error.after,
        }
    )
