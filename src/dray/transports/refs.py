"""What the refs of a posix place say: enough for any session of any process to go on with the work."""

import os
from functools import lru_cache

from dray.errors import Refused
from dray.model.names import RemotePath, printable, staged_name
from dray.model.values import Entry, Landing, OnExists, Ref, Value

_ON_EXISTS: dict[str, OnExists] = {"f": "fail", "v": "version", "r": "replace"}


class Target(Value, frozen=True):
    """What a ref says: everything about one arriving file; ``name`` is its staged name."""

    ref: Ref
    path: RemotePath
    size: int
    version: str
    on_exists: OnExists
    mtime_ns: int | None
    name: str
    mode: int | None = None


def ref_of(landing: Landing) -> Ref:
    """Name a landing so that any session of any process can work on it: nothing but the landing is needed."""
    version = landing.version.replace("%", "%25").replace("/", "%2F").replace(":", "%3A")
    mtime = "" if landing.mtime_ns is None else f"{landing.mtime_ns:x}"
    mode = "" if landing.mode is None else f":{landing.mode:o}"
    return Ref(f"{landing.on_exists[0]}:{landing.size:x}:{mtime}:{version}{mode}/{landing.path}")


@lru_cache(4096)
def target_of(ref: Ref) -> Target:
    """Read a ref again, or raise Refused."""
    head, _, path = ref.partition("/")
    try:
        on_exists, size, mtime, version, *mode = head.split(":")
        version = version.replace("%3A", ":").replace("%2F", "/").replace("%25", "%")
        return Target(
            ref=ref,
            path=RemotePath(path),
            size=int(size, 16),
            version=version,
            on_exists=_ON_EXISTS[on_exists],
            mtime_ns=int(mtime, 16) if mtime else None,
            name=staged_name(path, version),
            mode=int(mode[0], 8) if mode else None,
        )
    except (ValueError, KeyError):
        raise Refused("not a ref of an arriving file", item=printable(ref)) from None


def tag_of(seen: os.stat_result) -> str:
    """Return what pins this very content of a file on this disk, through renames."""
    return f"{seen.st_ino:x}-{seen.st_size:x}-{seen.st_mtime_ns:x}"


def published(path: str, tag: str = "") -> Ref:
    """Name a published file, and with ``tag`` this content of it only."""
    return Ref(f"@{tag}/{path}")


def published_of(ref: Ref) -> tuple[RemotePath, str] | None:
    """Return path and tag when ``ref`` names a published file."""
    tag, _, path = ref.partition("/")
    return (RemotePath(path), tag[1:]) if tag[:1] == "@" else None


def entry_of(path: RemotePath, seen: os.stat_result) -> Entry:
    """Describe a published file."""
    tag = tag_of(seen)
    return Entry(path, seen.st_size, seen.st_mtime_ns, tag=tag, ref=published(path, tag))
