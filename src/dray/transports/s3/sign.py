"""Signatures of requests to S3: AWS Signature Version 4, as AWS's documentation of "Signature V4 headers" says."""

import hashlib
import hmac
import time
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from dray.model.values import Value

UNSIGNED = "UNSIGNED-PAYLOAD"
"""What stands for the digest of a body that is checked by other means."""

Pairs = tuple[tuple[str, str], ...]


class Keys(Value, frozen=True):
    """Credentials. Never shown: they have no readable form."""

    access: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return "Keys(...)"


class Call(Value, frozen=True):
    """What is signed: ``path`` is percent-encoded already, ``query`` is not."""

    method: str
    host: str
    path: str
    query: Pairs = ()
    headers: Pairs = ()
    payload: str = UNSIGNED


def encoded(text: str, safe: str = "") -> str:
    """Return text percent-encoded as S3 wants it in paths (``safe="/"``) and queries."""
    return quote(text, safe=f"-._~{safe}")


def query_string(query: Iterable[tuple[str, str]]) -> str:
    """Return a query in the order in which it is signed."""
    return "&".join(f"{name}={value}" for name, value in sorted((encoded(n), encoded(v)) for n, v in query))


def signed(call: Call, keys: Keys, region: str, now: float) -> Pairs:
    """Return all headers of the call with its signature; ``now`` is the time at the service, in seconds."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    added = [("x-amz-content-sha256", call.payload), ("x-amz-date", stamp)]
    if keys.token:
        added.append(("x-amz-security-token", keys.token))
    headers = (*call.headers, *added)
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    names, canonical = _canonical(call, headers)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.new(_signing_key(keys.secret, stamp[:8], region), text.encode(), "sha256").hexdigest()
    credential = f"Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return (*headers, ("Authorization", f"AWS4-HMAC-SHA256 {credential}"))


def _canonical(call: Call, headers: Pairs) -> tuple[str, str]:
    """Return the names of the signed headers and the canonical request."""
    wanted = {name.lower(): " ".join(value.split()) for name, value in headers if name.lower().startswith("x-amz-")}
    wanted["host"] = call.host
    names = ";".join(sorted(wanted))
    lines = "".join(f"{name}:{wanted[name]}\n" for name in sorted(wanted))
    return names, "\n".join((call.method, call.path, query_string(call.query), lines, names, call.payload))


@lru_cache(16)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key
