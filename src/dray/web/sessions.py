"""Sessions of the web pages: a signed cookie that names a token by its number, never the token itself."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

LIFE = 12 * 3600.0
"""Seconds after which one signs in again."""

_PURPOSE = b"dray web session 1\n"


@dataclass(frozen=True)
class Session:
    """One signed-in browser."""

    token: int
    expires: int
    id: str


class Sessions:
    """Makes and reads cookies. A session ends with its time, its token, or signing out."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, _PURPOSE, "sha256")
        self._ended: dict[str, int] = {}

    def begin(self, token: int, now: float) -> tuple[Session, str]:
        """Return a new session and its cookie."""
        session = Session(token, int(now + LIFE), secrets.token_urlsafe(16))
        text = f"{session.token}.{session.expires}.{session.id}"
        return session, f"{text}.{self._sign('cookie', text)}"

    def read(self, cookie: str, now: float) -> Session | None:
        """Return the session of a cookie, or None when it is not ours, too old, or was ended."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._sign("cookie", text).encode(), signature.encode()):
            return None
        token, expires, name = text.split(".")
        session = Session(int(token), int(expires), name)
        return session if session.expires > now and _hashed(session) not in self._ended else None

    def end(self, session: Session, now: float) -> None:
        """Make a session useless before its time, in this process."""
        self._ended = {key: expires for key, expires in self._ended.items() if expires > now}
        self._ended[_hashed(session)] = session.expires

    def form(self, session: Session) -> str:
        """Return what every form of this session has to carry, so that no other site can send it."""
        return self._sign("form", session.id)

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{text}".encode(), hashlib.sha256).hexdigest()


def _hashed(session: Session) -> str:
    return hashlib.sha256(session.id.encode()).hexdigest()
