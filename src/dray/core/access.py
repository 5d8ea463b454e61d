"""Who may do what: tokens, what they prove, and the rights they carry."""

import hashlib
import logging
import re
import secrets
from collections.abc import Callable
from typing import cast

import msgspec

from dray.clock import Clock
from dray.core.cursor import decode, encode
from dray.errors import Denied, NotFound, Temporary, Unauthenticated, UsageError
from dray.model.names import printable
from dray.model.values import Value
from dray.model.views import Id, Scope, TokenPage, TokenRequest, TokenView
from dray.state import tokens
from dray.state.database import Connection, Database
from dray.state.tokens import NewToken, Token


class Principal(Value, frozen=True):
    """Who asks: a token by its number and name, and what it may do. No ``datasets`` means all of them."""

    token: int
    name: str
    scopes: frozenset[str]
    datasets: tuple[str, ...] = ()

    def may(self, scope: Scope, dataset: str | None = None) -> bool:
        """Say whether ``scope`` is granted (admin grants every scope), for ``dataset`` when one is named."""
        granted = scope in self.scopes or "admin" in self.scopes
        return granted and (dataset is None or self.covers(dataset))

    def covers(self, dataset: str) -> bool:
        """Say whether ``dataset`` is one of those the token is restricted to (a trailing ``*`` takes any ending)."""
        return not self.datasets or any(_matches(pattern, dataset) for pattern in self.datasets)

    def require(self, scope: Scope, dataset: str | None = None) -> None:
        """Raise Denied unless ``may(scope, dataset)``."""
        if not self.may(scope, dataset):
            where = f" in dataset {dataset}" if dataset and not self.covers(dataset) else ""
            raise Denied(
                f"token {self.name!r} may not {scope}{where}", hint="ask an administrator for a token that may"
            )


def _matches(pattern: str, dataset: str) -> bool:
    return dataset.startswith(pattern[:-1]) if pattern.endswith("*") else dataset == pattern


class Access:
    """Makes, checks and revokes tokens. A revoked token is refused within 5 s in every process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[bytes | int, tuple[Token, float]] = {}
        self._noted: dict[int, float] = {}

    async def authenticate(self, secret: str) -> Principal:
        """Return whose token ``secret`` is, or raise Unauthenticated (unknown, expired or revoked)."""
        # Looked up by its hash: how long that takes says nothing about the secret.
        digest = digest_of(secret)
        token = self._remembered(digest)
        if token is None:
            token = await self._database.read(lambda connection: tokens.by_digest(connection, digest))
            self._remember(digest, token)
        principal = self._principal(token)
        await self._note_use(principal.token)
        return principal

    async def known(self, token: int) -> Principal:
        """Return the principal of a token by its number, or raise Unauthenticated as ``authenticate`` does.

        For what a token was used to sign (URLs of parts and files, sessions of the web pages), so that it ends with it.
        Cheap to call for every part: looked up at most every few seconds.
        """
        found = self._remembered(token)
        if found is None:
            found = await self._database.read(lambda connection: tokens.by_id(connection, token))
            self._remember(token, found)
        return self._principal(found)

    def _remembered(self, key: bytes | int) -> Token | None:
        token, at = self._known.get(key, (None, 0.0))
        return token if self._clock.monotonic() - at < REMEMBER else None

    def _remember(self, key: bytes | int, token: Token | None) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        if token is not None:
            self._known[key] = (token, self._clock.monotonic())

    def _principal(self, token: Token | None) -> Principal:
        if token is None or token.revoked is not None or _is_over(token, self._clock.wall()):
            why = "is not known" if token is None else "was revoked" if token.revoked is not None else "has expired"
            raise Unauthenticated(f"this token {why}", hint="run: dray login")
        return Principal(token.id, token.name, frozenset(token.scopes), token.datasets)

    async def _note_use(self, token: int) -> None:
        now = self._clock.monotonic()
        if now - self._noted.get(token, -NOTE) >= NOTE:
            self._noted[token] = now
            wall = self._clock.wall()
            try:
                await self._database.write(lambda connection: tokens.used(connection, token, wall))
            except Temporary as error:
                LOG.warning("the last use of token %d was not noted: %s", token, error)

    async def create_token(self, who: Principal, request: TokenRequest) -> TokenView:
        """Make a token and return it with its ``secret``, which is stored only as a hash. Needs ``admin``.

        Nobody can give a dataset that they do not have.
        """
        who.require("admin")
        for pattern in request.datasets:
            if not PATTERN.fullmatch(pattern):
                raise UsageError("not the name of a dataset, nor its begin with a *", item=printable(pattern))
        if who.datasets and not (request.datasets and all(_is_within(who, one) for one in request.datasets)):
            raise Denied("a token cannot be given datasets that its maker does not have")
        secret = new_secret()
        token = await self._add(_new(request, secret), who.name)
        return msgspec.structs.replace(token_view(token), secret=secret)

    async def _add(self, new: NewToken, actor: str) -> Token:
        now = self._clock.wall()
        return await self._database.write(lambda connection: tokens.add(connection, new, now, actor))

    async def tokens(self, who: Principal, cursor: str | None = None, limit: int = 100) -> TokenPage:
        """Return a page of all tokens, the newest last, without secrets. Needs ``admin``."""
        who.require("admin")
        after = decode(cursor, Id) if cursor else 0
        found = await self._database.read(lambda connection: tokens.page(connection, after, limit + 1))
        following = encode(found[limit - 1].id) if len(found) > limit else None
        return TokenPage(items=[token_view(token) for token in found[:limit]], next=following)

    async def revoke(self, who: Principal, token: int) -> TokenView:
        """Make a token useless now and for ever; revoking again changes nothing. Needs ``admin``."""
        who.require("admin")
        now = self._clock.wall()
        found = await self._database.write(lambda connection: tokens.revoke(connection, token, now, who.name))
        self._known.clear()
        if found is None:
            raise NotFound("there is no such token", item=f"token {token}")
        return token_view(found)

    async def ensure_admin(self, secret_writer: Callable[[str], None]) -> TokenView | None:
        """Make the first administrator's token when there is no token at all; return it, or None when there are some.

        ``secret_writer`` is called in a database thread before the commit and must have stored the secret durably
        when it returns; killed in between, the next start makes another one.
        """
        secret = new_secret()
        new = _new(TokenRequest(name="admin", scopes=["admin"]), secret)
        now = self._clock.wall()

        def make(connection: Connection) -> Token | None:
            if not tokens.lock_empty(connection):
                return tokens.by_digest(connection, new.digest)
            secret_writer(secret)
            return tokens.add(connection, new, now, "first start")

        token = await self._database.write(make)
        return token_view(token) if token else None


REMEMBER = 4.0
"""Seconds for which a token is not looked up again; revocation has to work within 5."""
NOTE = 60.0
MOST_KNOWN = 10_000
PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\*?|\*")
LOG = logging.getLogger(__name__)


def new_secret() -> str:
    """Return a new secret: 256 random bits in 43 characters."""
    return "dray_" + secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """Return what is stored of a secret; a fast hash, since there is nothing to guess in 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def token_view(token: Token) -> TokenView:
    """Show a token without its secret."""
    return TokenView(
        token=token.id,
        name=token.name,
        prefix=token.prefix,
        scopes=cast(list[Scope], list(token.scopes)),
        datasets=list(token.datasets),
        created=token.created,
        expires=token.expires,
        last_used=token.last_used,
        revoked=token.revoked,
    )


def _new(request: TokenRequest, secret: str) -> NewToken:
    scopes = sorted(set(request.scopes))
    return NewToken(request.name, secret[:13], digest_of(secret), scopes, request.datasets, request.expires)


def _is_over(token: Token, now: float) -> bool:
    return token.expires is not None and token.expires <= now


def _is_within(who: Principal, pattern: str) -> bool:
    """Say whether all that ``pattern`` takes is taken by one of the datasets of ``who``."""
    return any(pattern == mine or (mine.endswith("*") and pattern.startswith(mine[:-1])) for mine in who.datasets)
