"""Signed URLs: the right to PUT one part or GET one file, for a few minutes, without a token.

The signature is HMAC-SHA256 over the method, the path and every parameter, so a URL is good for exactly one thing.
It names the token it was made for by number, so that it dies with that token.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from dray.errors import Denied, Expired

LIFE = 900.0
"""Seconds a URL lives at most."""

_PURPOSE = b"dray signed url 1\n"


class Signer:
    """Makes and checks signed URLs with a secret key that all servers of one installation share."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, _PURPOSE, "sha256")

    def sign(self, method: str, path: str, numbers: Mapping[str, int], expires: float) -> str:
        """Return ``path`` with a query that carries ``numbers``, the time it expires and the signature."""
        query = urlencode(sorted({**numbers, "expires": int(expires)}.items()))
        return f"{path}?{query}&signature={self._signature(method, path, query)}"

    def check(self, method: str, path: str, query: bytes, now: float) -> dict[str, int]:
        """Return the numbers of a signed query, or raise Denied or Expired."""
        signed, _, signature = query.decode("latin-1").rpartition("&signature=")
        if not hmac.compare_digest(self._signature(method, path, signed).encode(), signature.encode()):
            raise Denied("this URL was not signed by this server for this request", hint="ask for a fresh URL")
        numbers = {name: int(value) for name, value in parse_qsl(signed)}
        if numbers.pop("expires") <= now:
            raise Expired("this URL is too old", hint="ask for a fresh URL")
        return numbers

    def _signature(self, method: str, path: str, query: str) -> str:
        text = "\n".join((method, path, query)).encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
