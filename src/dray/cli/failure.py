"""Turns whatever ended a command into a message with file, cause and next step, and an exit code."""

import errno
import json

from dray.errors import DrayError, Forbidden, NoSpace, NotFound
from dray.model.names import printable

SCHEMA = 1
_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def translate(error: BaseException) -> DrayError | None:
    """Return the failure of our own tree that ``error`` means, or None when it is a defect of the program."""
    if isinstance(error, DrayError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for found in map(translate, error.exceptions) if found), None)
    return _translate_os(error) if isinstance(error, OSError) and error.errno else None


def _translate_os(error: OSError) -> DrayError | None:
    item = _name(error)
    if isinstance(error, FileNotFoundError):
        return NotFound("there is no such file or directory", item=item, hint="check the spelling of the path")
    if isinstance(error, PermissionError):
        return Forbidden("the operating system refuses access", item=item, hint="check owner and permissions")
    if error.errno in _NO_SPACE:
        return NoSpace("the disk is full", item=item, hint="free space, then run the same command again")
    return None


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
