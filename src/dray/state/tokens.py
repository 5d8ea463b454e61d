"""Queries on tokens."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, text, update

from dray.model.values import Value
from dray.state.events import Note, tell
from dray.state.inserting import insert_once
from dray.state.schema import tokens


class Token(Value, frozen=True):
    """A token as it is stored; ``digest`` is the sha256 of its secret."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    datasets: tuple[str, ...]
    created: float
    expires: float | None
    last_used: float | None
    revoked: float | None


class NewToken(Value, frozen=True):
    """A token to be made."""

    name: str
    prefix: str
    digest: bytes
    scopes: Sequence[str]
    datasets: Sequence[str]
    expires: float | None


def add(connection: Connection, new: NewToken, now: float, actor: str) -> Token:
    """Add a token, or return the one with this secret when it was added already."""
    values = {
        "name": new.name,
        "prefix": new.prefix,
        "digest": new.digest,
        "scopes": " ".join(new.scopes),
        "datasets": " ".join(new.datasets),
        "created": now,
        "expires": new.expires,
    }
    made = insert_once(connection, tokens, values)
    token = _token(connection.execute(select(tokens).where(tokens.c.digest == new.digest)).one())
    if made:
        _tell(connection, "token.created", token, now, actor)
    return token


def by_digest(connection: Connection, digest: bytes) -> Token | None:
    """Return the token with this secret."""
    row = connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
    return _token(row) if row else None


def by_id(connection: Connection, token: int) -> Token | None:
    """Return the token with this number."""
    row = connection.execute(select(tokens).where(tokens.c.id == token)).first()
    return _token(row) if row else None


def page(connection: Connection, after: int, limit: int) -> list[Token]:
    """Return tokens by number."""
    statement = select(tokens).where(tokens.c.id > after).order_by(tokens.c.id).limit(limit)
    return [_token(row) for row in connection.execute(statement)]


def revoke(connection: Connection, token: int, now: float, actor: str) -> Token | None:
    """End a token for ever; one that was revoked before keeps its time."""
    statement = update(tokens).where(tokens.c.id == token, tokens.c.revoked.is_(None)).values(revoked=now)
    changed = connection.execute(statement).rowcount
    found = by_id(connection, token)
    if found and changed:
        _tell(connection, "token.revoked", found, now, actor)
    return found


def _tell(connection: Connection, kind: str, token: Token, now: float, actor: str) -> None:
    tell(connection, Note("token", kind, now, actor), {token.id: {"token": token.id, "name": token.name}})


def used(connection: Connection, token: int, now: float) -> None:
    """Note when a token was used last."""
    connection.execute(update(tokens).where(tokens.c.id == token).values(last_used=now))


def lock_empty(connection: Connection) -> bool:
    """Say whether there is no token at all, and let nobody else add one until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE"))
    return connection.execute(select(tokens.c.id).limit(1)).first() is None


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes.split()),
        datasets=tuple(row.datasets.split()),
        created=row.created,
        expires=row.expires,
        last_used=row.last_used,
        revoked=row.revoked,
    )
