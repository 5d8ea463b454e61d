"""Tells schemathesis how to send a body of a type of ours: bytes that are a bundle in their frame at most."""

import json
from typing import Any

import schemathesis

BUNDLE = "application/vnd.dray.bundle"


@schemathesis.serializer(BUNDLE)
def bundle(context: Any, value: Any) -> bytes:
    """Frame whatever was made as the manifest of a bundle; bytes go as they are."""
    if isinstance(value, bytes):
        return value
    manifest = value.encode(errors="replace") if isinstance(value, str) else json.dumps(value, default=str).encode()
    return len(manifest).to_bytes(4, "big") + manifest
