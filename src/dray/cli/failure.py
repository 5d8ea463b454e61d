"""Turns whatever ended a command into a message with file, cause and next step, and an exit code."""

import json

from dray import errors, fs
from dray.errors import DrayError, NoSpace, Permanent
from dray.model.names import printable

SCHEMA = 1
NEXT_STEPS: dict[type[DrayError], str] = {
    errors.UsageError: "the command's --help shows its form and examples",
    errors.NameRefused: "rename it",
    errors.Refused: "correct it; nothing was changed",
    errors.NotFound: "check the spelling; `dray ls` shows what is there",
    errors.Denied: "ask who gave you the token what it may do",
    errors.Unauthenticated: "sign in: dray login URL",
    errors.Temporary: "run the same command again later; it goes on where it was",
    errors.Unreachable: "`dray doctor` looks at every step of the way",
    errors.Busy: "wait until the other one is done, then run the same command again",
    errors.NoSpace: "free space, then run the same command again; it goes on where it was",
    errors.IntegrityFailure: "run the same command again; if it comes back, a disk, cable or memory is bad",
    errors.Permanent: "-vv shows more; it stays like this until something is changed",
    errors.Conflict: "look at what is there with `dray ls`, then choose another name or --on-exists",
    errors.Forbidden: "check owner and permissions",
    errors.LimitReached: "ask who runs the server to raise the limit, or make it smaller",
    errors.TooManyRequests: "run the same command again later, with less at the same time",
}
"""What to do next where a failure does not know better; the nearest class in the tree counts."""


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
    return found


def _name(error: OSError) -> str:
    name = error.filename
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name or "")


def as_text(error: DrayError) -> list[str]:
    """Return the lines for people: file and cause, next step, code."""
    head = f"{error.item}: {error.message}" if error.item else error.message
    lines = [f"dray: {printable(head)}", f"  next step: {printable(next_step(error))}"]
    if error.retry == "later":
        wait = f" in {error.after:.0f} s" if error.after else " later"
        lines.append(f"  this may pass by itself; try again{wait}")
    return [*lines, f"  code: {error.code}, exit {error.exit_code}"]


def next_step(error: DrayError) -> str:
    """Return what to do now."""
    return error.hint or next((NEXT_STEPS[cls] for cls in type(error).__mro__ if cls in NEXT_STEPS), "-vv shows more")


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
            "hint": next_step(error),
            "retry": error.retry,
            "after": error.after,
        }
    )
