"""Cursors of pages: opaque to those who hand them back, checked when they do."""

import base64
import binascii
from typing import TypeVar

import msgspec

from dray.errors import UsageError

T = TypeVar("T")


def encode(place: object) -> str:
    """Return a place in an order as a cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode(cursor: str, kind: type[T]) -> T:
    """Return the place that ``encode`` was given, or raise UsageError."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place: T = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise UsageError("this is not a cursor of ours", hint="take `next` of the page before") from error
    return place
