"""Queries of the sweep and of kept answers."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, exists, not_, select, text, update

from dray.model.values import Value
from dray.state.given import IDS, ids
from dray.state.inserting import insert_once
from dray.state.schema import answers, datasets, files, jobs, uploads


class Kept(Value, frozen=True):
    """An answer that was given to a request; ``digest`` is that of the request."""

    digest: str
    status: int
    media_type: str
    body: bytes


def answer(connection: Connection, token: int, key: str) -> Kept | None:
    """Return the answer kept for a token's key."""
    a = answers.c
    statement = select(a.digest, a.status, a.media_type, a.body).where(a.token_id == token, a.key == key)
    row = connection.execute(statement).first()
    return Kept(row.digest, row.status, row.media_type, bytes(row.body)) if row else None


def keep_answer(connection: Connection, token: int, key: str, kept: Kept, now: float) -> None:
    """Keep the first answer to a token's key."""
    values = {"digest": kept.digest, "status": kept.status, "media_type": kept.media_type, "body": kept.body}
    insert_once(connection, answers, {"token_id": token, "key": key, "created": now, **values})


def forget_answers(connection: Connection, before: float) -> int:
    """Delete answers kept since before that time; return how many."""
    return int(connection.execute(delete(answers).where(answers.c.created < before)).rowcount)


def abandoned(connection: Connection, before: float, limit: int) -> list[int]:
    """Return pending uploads to which nothing came since ``before``."""
    rare = text("uploads.state <> 'accepted'")
    statement = select(uploads.c.id).where(rare, uploads.c.state == "pending", uploads.c.updated < before)
    return list(connection.execute(statement.order_by(uploads.c.id).limit(limit)).scalars())


def unattended(connection: Connection, limit: int) -> list[int]:
    """Return uploaded uploads that no job will verify any more (it died, or was deleted)."""
    rare = text("uploads.state <> 'accepted'")
    tended = exists().where(jobs.c.id == uploads.c.job_id, jobs.c.state.in_(["waiting", "running"]))
    statement = select(uploads.c.id).where(rare, uploads.c.state == "uploaded", not_(tended))
    return list(connection.execute(statement.order_by(uploads.c.id).limit(limit)).scalars())


def assign(connection: Connection, keys: Iterable[int], job: int) -> None:
    """Give uploads to another job."""
    mine = uploads.c.id.in_(select(IDS.table(connection).c.id))
    connection.execute(update(uploads).where(mine).values(job_id=job), ids(keys))


def leftovers(connection: Connection, after: int, limit: int) -> list[int]:
    """Return uploads that ended without being accepted and whose staged bytes may still be there."""
    left = text("uploads.leftover")
    statement = select(uploads.c.id).where(left, uploads.c.id > after).order_by(uploads.c.id).limit(limit)
    return list(connection.execute(statement).scalars())


def cleared(connection: Connection, keys: Iterable[int]) -> None:
    """Note that nothing is staged for these uploads any more."""
    mine = uploads.c.id.in_(select(IDS.table(connection).c.id))
    connection.execute(update(uploads).where(mine).values(leftover=False), ids(keys))


def staging(connection: Connection) -> list[tuple[str, str, int]]:
    """Return dataset, path and number of every upload whose staged bytes may still be needed."""
    rare = text("uploads.state <> 'accepted'")
    joined = uploads.join(files, files.c.id == uploads.c.file_id).join(datasets, datasets.c.id == files.c.dataset_id)
    statement = select(datasets.c.name, files.c.path, uploads.c.id).select_from(joined)
    rows = connection.execute(statement.where(rare, uploads.c.state.in_(["pending", "uploaded"])))
    return [(row[0], row[1], row[2]) for row in rows]
