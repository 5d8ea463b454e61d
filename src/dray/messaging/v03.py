"""Sarracenia v03 messages, read leniently and written strictly: pure functions between bytes and typed values.

A message is one flat JSON object that announces a file (https://metpx.github.io/sarracenia/, sr3_post(7)). Names that
are not UTF-8 travel as lone surrogates, as ``os.fsdecode`` makes them. Times are nanoseconds since 1970 UTC.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

import msgspec

from dray.errors import NameRefused, Refused
from dray.model.checksum import LENGTHS, Checksum
from dray.model.names import printable
from dray.model.values import Value

CONTENT_TYPE = "application/json"
"""Goes with every message: without it sr3 takes a message for another format and leaves it un-acknowledged."""

TOPIC = "v03"
"""First word of every routing key."""

EVERYTHING = "v03.#"
"""Binds a queue to all messages of an exchange; ``#`` stands for no word, too."""

LONGEST_TOPIC = 255
SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TIME = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)[T ]?(\d\d):?(\d\d):?(\d\d)(.*)", re.DOTALL)
_INTERNAL = re.compile(r"_|new_|ack_id$|exchange$|local_offset$|subtopic$|topic$|onfly_checksum$|isRetry$")
"""Keys that sr3 keeps to itself; they never travel."""

_OF_BYTES = frozenset(("atime", "blocks", "content", "parts", "size", "identity", "mtime", "mode"))
"""Keys that may be wrong by the time a file was sent: only what was read of it then is announced."""


class Identity(Value, frozen=True):
    """What a message says about the content: ``value`` is the base64 of a digest, or what ``method`` makes of it."""

    method: str
    value: str

    @classmethod
    def of(cls, checksum: Checksum) -> "Identity":
        """Write a checksum as messages have it."""
        return cls(checksum.algorithm, base64.b64encode(bytes.fromhex(checksum.hex)).decode())

    def checksum(self) -> Checksum | None:
        """Return the digest, or None when this is none that Dray knows."""
        try:
            digest = base64.b64decode(self.value, validate=True).hex()
        except (binascii.Error, ValueError):
            return None
        return Checksum(self.method, digest) if LENGTHS.get(self.method) == len(digest) else None


class Operation(Value, frozen=True):
    """What happened to a name when it is not just a file with content; ``link`` and ``hlink`` name their target.

    ``rename`` is the absolute path that the file had on the machine of whoever says so; Dray reads it, and never
    writes it: a receiver that does not have the old name would refuse the file for ever.
    """

    remove: bool = False
    directory: bool = False
    link: str | None = None
    hlink: str | None = None
    rename: str | None = None


class Post(Value, frozen=True):
    """One message: the file ``path`` below ``base_url``, and what is said about it, all of it hints.

    ``path`` is relative and never leads out of its base. ``more`` holds what Dray has no use for, each key with its
    JSON text, and travels on untouched.
    """

    base_url: str
    path: str
    posted_ns: int | None = None
    size: int | None = None
    identity: Identity | None = None
    mtime_ns: int | None = None
    mode: int | None = None
    content_type: str | None = None
    source: str | None = None
    retrieve_path: str | None = None
    operation: Operation | None = None
    more: tuple[tuple[str, str], ...] = ()


def decode(body: bytes) -> Post:
    """Read a message; raises Refused when it is none, and NameRefused when its path leads out of its base."""
    fields = _fields(body)
    base, path = fields.pop("baseUrl", None), fields.pop("relPath", None)
    if not isinstance(base, str) or not isinstance(path, str):
        raise Refused("not a v03 message: it has no baseUrl and relPath")
    _rename_old(fields)
    known = {name: value for name, (key, read) in _FIELDS.items() if (value := _take(fields, key, read)) is not None}
    more = tuple((key, json.dumps(value)) for key, value in fields.items() if not _INTERNAL.match(key))
    return Post(base, inside(path), more=more, **known)  # type: ignore[arg-type]


def encode(post: Post) -> bytes:
    """Write a message; raises Refused for one without a time and for a rename, which Dray never posts."""
    if post.posted_ns is None:
        raise Refused("a message needs the time at which it is posted", item=printable(post.path))
    if post.operation is not None and post.operation.rename is not None:
        raise Refused("a rename is never posted, the new name is", item=printable(post.path))
    fields: dict[str, object] = {
        "pubTime": time_text(post.posted_ns),
        "baseUrl": post.base_url,
        "relPath": inside(post.path),
        "source": post.source,
        "mode": None if post.mode is None else f"{post.mode & 0o7777:o}",
        "size": post.size,
        "mtime": None if post.mtime_ns is None else time_text(post.mtime_ns),
        "identity": post.identity and {"method": post.identity.method, "value": post.identity.value},
        "contentType": post.content_type,
        "retrievePath": post.retrieve_path,
        "fileOp": post.operation and _operation_fields(post.operation),
    }
    given = {key: value for key, value in fields.items() if value is not None}
    return json.dumps({key: json.loads(text) for key, text in post.more} | given).encode("ascii")


def carried(post: Post, user: str) -> str:
    """Return what travels on with the file that a message is about, as JSON: not what speaks of its bytes or place.

    That ``user`` is its source goes without saying, and nothing at all is an empty text.
    """
    fields = {"source": post.source if post.source != user else None, "contentType": post.content_type}
    more = {key: json.loads(text) for key, text in post.more if key not in _OF_BYTES}
    given = more | {key: value for key, value in fields.items() if value is not None}
    return json.dumps(given) if given else ""


def carrying(post: Post, text: str) -> Post:
    """Return a message with what ``carried`` told of an earlier one about the same file."""
    fields = json.loads(text) if text else {}
    source, content_type = fields.pop("source", post.source), fields.pop("contentType", post.content_type)
    more = tuple((key, json.dumps(value)) for key, value in fields.items())
    return msgspec.structs.replace(post, source=source, content_type=content_type, more=more)


def topic(path: str) -> str:
    """Return the routing key of a message: one word a directory, at most 255 bytes."""
    words = [TOPIC, *path.split("/")[:-1]]
    key = ".".join(words).replace("#", "%23").replace("*", "%22")
    return key.encode("utf-8", "replace")[:LONGEST_TOPIC].decode("utf-8", "ignore")


def inside(path: str) -> str:
    """Return a relative path without needless parts; raises NameRefused for one that leads elsewhere."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    reason = _refusal(parts)
    if reason:
        raise NameRefused(reason, item=printable(path))
    return "/".join(parts)


def parse_time(text: str) -> int | None:
    """Read ``YYYYMMDDTHHMMSS`` with any fraction, or ISO 8601 in UTC, as nanoseconds since 1970; None for no time."""
    found = _TIME.match(text.strip())
    if not found:
        return None
    try:
        whole = datetime(*(int(part) for part in found.groups()[:6]), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    return (whole - EPOCH) // timedelta(seconds=1) * SECOND + _fraction(found[7])


def time_text(ns: int) -> str:
    """Write a time as messages have it: six digits after the point, nine when they say more."""
    seconds, rest = divmod(ns, SECOND)
    digits = f"{rest:09}" if rest % 1000 else f"{rest // 1000:06}"
    whole = (EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    return f"{whole[:19].replace('-', '').replace(':', '')}.{digits}"


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not a v03 message: {type(error).__name__}") from error
    if not isinstance(fields, dict):
        raise Refused("not a v03 message: it is no JSON object")
    return fields


def _rename_old(fields: dict[str, object]) -> None:
    """Give old keys their new names, unless the new one is there."""
    for old, new in (("integrity", "identity"), ("retPath", "retrievePath")):
        if old in fields and new not in fields:
            fields[new] = fields.pop(old)
    parts = str(fields.get("parts", "")).split(",")
    if len(parts) == 5 and parts[0] == "1" and "size" not in fields:
        fields["size"] = parts[1]
        del fields["parts"]


def _take(fields: dict[str, object], key: str, read: Callable[[object], object]) -> object:
    """Read one field and remove it; what cannot be read stays, to travel on as it is."""
    value = read(fields[key]) if key in fields else None
    if value is not None:
        del fields[key]
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> int | None:
    return parse_time(value) if isinstance(value, str) else None


def _size(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 20:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _mode(value: object) -> int | None:
    text = str(value) if type(value) in (int, str) else ""
    return int(text, 8) & 0o7777 if re.fullmatch("[0-7]{1,7}", text) else None


def _identity(value: object) -> Identity | None:
    if not isinstance(value, dict) or value.keys() != {"method", "value"}:
        return None
    method, content = value["method"], value["value"]
    return Identity(method, content) if isinstance(method, str) and isinstance(content, str) else None


def _operation(value: object) -> Operation | None:
    if not isinstance(value, dict) or not value or not value.keys() <= _OPERATIONS:
        return None
    if not all(isinstance(target, str) for target in value.values()):
        return None
    link, hlink, rename = (value.get(key) for key in ("link", "hlink", "rename"))
    return Operation("remove" in value, "directory" in value, link, hlink, rename)


def _operation_fields(operation: Operation) -> Mapping[str, str]:
    fields = {
        "remove": "" if operation.remove else None,
        "directory": "" if operation.directory else None,
        "link": operation.link,
        "hlink": operation.hlink,
    }
    return {key: value for key, value in fields.items() if value is not None}


_OPERATIONS = frozenset(Operation.__struct_fields__)

_FIELDS: dict[str, tuple[str, Callable[[object], object]]] = {
    "posted_ns": ("pubTime", _time),
    "size": ("size", _size),
    "identity": ("identity", _identity),
    "mtime_ns": ("mtime", _time),
    "mode": ("mode", _mode),
    "content_type": ("contentType", _text),
    "source": ("source", _text),
    "retrieve_path": ("retrievePath", _text),
    "operation": ("fileOp", _operation),
}


def _fraction(text: str) -> int:
    """Return the nanoseconds of what follows the seconds; sr3 may print a tiny fraction as ``.2e-05``."""
    digits = text.rstrip("Z").split("+")[0]
    try:
        value = Decimal(f"0{digits}") if digits.startswith(".") else Decimal(0)
    except InvalidOperation:
        return 0
    return int(value * SECOND) if 0 <= value < 1 else 0


def _refusal(parts: list[str]) -> str | None:
    if not parts:
        return "the path is empty"
    if ".." in parts:
        return "the path leads out of its directory"
    if any("\0" in part for part in parts):
        return "the name holds a NUL character"
    try:
        "/".join(parts).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "the name cannot be the name of a file"
    return None
