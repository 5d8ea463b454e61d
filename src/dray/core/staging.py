"""Decides what staging a file means, from what its path holds: a pure function."""

from collections.abc import Sequence

from dray.errors import Conflict, DrayError, SourceBusy
from dray.model.names import printable
from dray.model.values import Value
from dray.model.views import StageFile
from dray.state.uploads import Head, Live

STALE = 15 * 60.0
"""Seconds without a byte after which another source may take a path over."""


class Done(Value, frozen=True):
    """This very content is published and verified already."""

    head: Head
    upload: Live


class HashFirst(Value, frozen=True):
    """Something of this size is published; only a checksum tells whether it is the same."""

    head: Head


class Resume(Value, frozen=True):
    """This very version is on its way."""

    head: Head
    upload: Live


class Open(Value, frozen=True):
    """A new upload is needed: of an unpublished ``file`` version, or of a new one (None).

    ``ends`` is an unfinished upload that this one takes the place of.
    """

    version_number: int
    file: int | None = None
    ends: Live | None = None


Decision = Done | HashFirst | Resume | Open | DrayError


def decide(asked: StageFile, heads: Sequence[Head], now: float) -> Decision:
    """Return what staging ``asked`` means; ``heads`` are the newest and the current version of its path, if any."""
    newest = max(heads, key=lambda head: head.version_number, default=None)
    current = next((head for head in heads if head.current), None)
    live = newest.live if newest and not newest.published else None
    if current and current.live and _is_same(asked, current, current.live, live):
        return Done(current, current.live)
    if newest and live:
        if _resumes(asked, live):
            return Resume(newest, live)
        if live.source != asked.source and not _is_stale(live, now):
            return _busy(asked, live, now)
    return _against(asked, current) or _open(newest, live)


def _is_same(asked: StageFile, current: Head, accepted: Live, live: Live | None) -> bool:
    if not current.verified or current.size != asked.size:
        return False
    if asked.checksum:
        return asked.checksum == current.checksum
    return live is None and (asked.version, asked.source) == (accepted.version, accepted.source)


def _resumes(asked: StageFile, live: Live) -> bool:
    return (asked.version, asked.source, asked.size) == (live.version, live.source, live.size)


def _is_stale(live: Live, now: float) -> bool:
    return live.state == "pending" and now - live.updated > STALE


def _busy(asked: StageFile, live: Live, now: float) -> SourceBusy:
    return SourceBusy(
        f"another source is uploading to this path (upload {live.upload}, {live.state})",
        item=printable(asked.path),
        hint="it is taken over when nothing came for 15 minutes",
        after=max(1.0, min(60.0, live.updated + STALE - now)),
    )


def _against(asked: StageFile, current: Head | None) -> Decision | None:
    """Return what stands against new content at the path."""
    if current is None:
        return None
    if current.verified and current.size == asked.size and not asked.checksum:
        return HashFirst(current)
    if asked.on_exists == "fail":
        return Conflict(
            f"version {current.version_number} has other content",
            item=printable(asked.path),
            hint="allow a new version, or choose another path",
        )
    return None


def _open(newest: Head | None, live: Live | None) -> Open:
    if newest is None:
        return Open(1)
    if newest.published:
        return Open(newest.version_number + 1)
    return Open(newest.version_number, newest.file, live)
