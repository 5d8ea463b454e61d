"""The pure decision whether a file of a hot directory is finished, from what was seen of it."""

from typing import Literal

from dray.model.values import Value

Notice = Literal["renamed", "closed", "found"]
"""How a version was noticed: renamed into the directory, closed after writing, or found by looking."""

CLOSING = 0.1
"""Seconds within which a file that was reported as closed still counts as open by the one who closes it."""


class Policy(Value, frozen=True):
    """When a file counts as finished.

    ``settle`` is how long it must rest, in seconds, where its end is not seen. ``closed_at_once`` is False where
    programs close and open a file again while it grows. ``done_file`` names the file that says that another one
    (``{name}.done``) or a whole folder (``RUN_COMPLETE``, here or above) is finished; empty: none is asked for.
    """

    settle: float = 2.0
    closed_at_once: bool = True
    done_file: str = ""


class Sight(Value, frozen=True):
    """One look at a file: ``quiet`` is for how many seconds looks have seen this very version of it.

    ``writer`` says whether somebody has it open for writing, None where that cannot be told. ``done`` says whether
    its done-file is there; it counts only where the policy asks for one.
    """

    notice: Notice
    size: int
    quiet: float
    writer: bool | None = None
    done: bool = False


class Wait(Value, frozen=True):
    """Not finished: look again after ``seconds``, None: when something happens."""

    seconds: float | None
    reason: str


def settled(sight: Sight, policy: Policy) -> Wait | None:
    """Return None when the file is finished, else how long to wait and why."""
    if policy.done_file and not sight.done:
        return Wait(None, f"waits for its done-file {policy.done_file}")
    if sight.writer:
        closing = sight.notice == "closed" and sight.quiet < CLOSING
        return Wait(CLOSING if closing else max(policy.settle, CLOSING), "is open for writing")
    if policy.done_file or _at_once(sight, policy) or sight.quiet >= policy.settle:
        return None
    return Wait(policy.settle - sight.quiet, f"changed less than {policy.settle:g} s ago")


def _at_once(sight: Sight, policy: Policy) -> bool:
    """Say whether the platform told that the file is finished; an empty one is often closed before it is filled."""
    return sight.notice == "renamed" or (sight.notice == "closed" and policy.closed_at_once and sight.size > 0)


def marked_by(done_file: str, name: str) -> str | None:
    """Return which file of the same folder ``name`` says is finished; empty means the whole folder, None nothing."""
    if not done_file:
        return None
    before, braces, after = done_file.partition("{name}")
    if not braces:
        return "" if name == done_file else None
    inner = name[len(before) : len(name) - len(after)]
    return inner if inner and name == before + inner + after else None
