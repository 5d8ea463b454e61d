"""Queries on uploads: find what a path holds, open, claim and show; always a batch at a time."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert, Update

from dray.model.states import UPLOAD, UPLOAD_LIVE, final
from dray.model.values import Value
from dray.state.given import IDS, Given, Row, ids
from dray.state.inserting import insert_new
from dray.state.schema import copies, datasets, files, jobs, quoted, uploads
from dray.state.transition import Change, Setting, begun, move

# Written out, so that partial indexes serve.
LIVE = text(f"uploads.state IN ({quoted(UPLOAD_LIVE)})")
CURRENT = text("files.current")


class Live(Value, frozen=True):
    """The one upload of a file version that is pending, uploaded or accepted."""

    upload: int
    state: Literal["pending", "uploaded", "accepted"]
    version: str
    source: str
    size: int
    part_size: int
    updated: float
    job: int | None


class Head(Value, frozen=True):
    """A file version that counts when its path is written again: the newest one, or the current one."""

    file: int
    path: str
    version_number: int
    size: int
    checksum: str | None
    published: bool
    current: bool
    verified: bool
    live: Live | None


PATHS = Given(path=str)


def heads(connection: Connection, dataset: int, paths: Iterable[str]) -> list[Head]:
    """Return the newest and the current version of each path, each with its live upload."""
    given = PATHS.rows({"path": path} for path in paths)
    found = connection.execute(_heads(PATHS.table(connection)), given | {"dataset": dataset}).all()
    return [_head(row) for row in found]


@lru_cache
def _heads(given: Subquery) -> Select[Any]:
    other = files.alias("other")
    newest = select(func.max(other.c.version_number)).where(
        other.c.dataset_id == files.c.dataset_id, other.c.path == files.c.path
    )
    verified = exists().where(copies.c.file_id == files.c.id, copies.c.state == "verified")
    # IN, not a join: SQLite would go through all files of the dataset for a join.
    mine = and_(files.c.dataset_id == bindparam("dataset"), files.c.path.in_(select(given.c.path)))
    return (
        select(files, verified.label("verified"), *(column.label(f"u_{name}") for name, column in uploads.c.items()))
        .select_from(files.outerjoin(uploads, and_(uploads.c.file_id == files.c.id, LIVE)))
        .where(mine, or_(CURRENT, files.c.version_number == newest.scalar_subquery()))
    )


def _head(row: Any) -> Head:
    live = row.u_id and Live(
        row.u_id, row.u_state, row.u_version, row.u_source, row.u_size, row.u_part_size, row.u_updated, row.u_job_id
    )
    return Head(
        row.id,
        row.path,
        row.version_number,
        row.size,
        row.checksum,
        row.published is not None,
        row.current,
        row.verified,
        live or None,
    )


VERSIONS = Given(path=str, version_number=int, size=int, mtime_ns=int)


def add_files(connection: Connection, dataset: int, values: Iterable[Row], now: float) -> dict[str, int]:
    """Add file versions that are not there yet; return the new ones' ids by path."""
    statement = _add_files(connection.dialect.name, VERSIONS.table(connection))
    given = VERSIONS.rows(values) | {"dataset": dataset, "now": now}
    return {path: key for key, path in connection.execute(statement, given).all()}


@lru_cache
def _add_files(dialect: str, given: Subquery) -> ReturningInsert[Any]:
    names = ["dataset_id", "created", "current", *given.c.keys()]
    fixed = [bindparam("dataset", type_=BigInteger), bindparam("now", type_=Double), false()]
    # WHERE, since SQLite would read ON CONFLICT as part of a join without it.
    chosen = select(*fixed, *given.c).where(text("1 = 1")).order_by(given.c.path)
    statement = insert_new(dialect, files).from_select(names, chosen).on_conflict_do_nothing()
    returning: ReturningInsert[Any] = statement.returning(files.c.id, files.c.path)
    return returning


SIZES = Given(id=int, size=int, mtime_ns=int)


def reuse_files(connection: Connection, values: Iterable[Row]) -> None:
    """Give file versions that were never published the size of the upload that now tries to fill them."""
    connection.execute(_reuse_files(SIZES.table(connection)), SIZES.rows(values))


@lru_cache
def _reuse_files(given: Subquery) -> Update:
    changed = {"size": given.c.size, "mtime_ns": given.c.mtime_ns}
    return update(files).where(files.c.id == given.c.id, files.c.published.is_(None)).values(changed)


OPENED = Given(
    file_id=int,
    version=str,
    source=str,
    on_exists=str,
    size=int,
    part_size=int,
    mtime_ns=int,
    checksum=str,
)


def open_uploads(connection: Connection, values: Iterable[Row], token: int, change: Change) -> dict[int, int]:
    """Open an upload for each file version that has no live one; return the new ones' ids by file."""
    statement = _open_uploads(connection.dialect.name, OPENED.table(connection))
    given = OPENED.rows(values) | {"now": change.now, "token": token}
    opened = {file: key for key, file in connection.execute(statement, given).all()}
    begun(connection, change, opened.values())
    return opened


@lru_cache
def _open_uploads(dialect: str, given: Subquery) -> ReturningInsert[Any]:
    names = ["state", "reason", "leftover", "token_id", "created", "updated", *given.c.keys()]
    now = bindparam("now", type_=Double)
    fixed = [literal("pending", Text), literal("", Text), false(), bindparam("token", type_=Integer), now, now]
    chosen = select(*fixed, *given.c).where(text("1 = 1")).order_by(given.c.file_id)
    statement = insert_new(dialect, uploads).from_select(names, chosen).on_conflict_do_nothing()
    returning: ReturningInsert[Any] = statement.returning(uploads.c.id, uploads.c.file_id)
    return returning


REASONS = Setting(Given(id=int, reason=str, leftover=bool))


def end(connection: Connection, change: Change, reasons: Mapping[int, str]) -> set[int]:
    """Bring uploads into a final state that is not ``accepted``, and note that staged bytes have to be removed."""
    values: dict[int, Row] = {key: {"reason": reason, "leftover": True} for key, reason in reasons.items()}
    return move(connection, change, REASONS, values)


CLAIMS = Setting(Given(id=int, checksum=str, job_id=int))


def claim(connection: Connection, change: Change, claims: Mapping[int, str], job: int) -> set[int]:
    """Take what the movers say their files are, to be verified by ``job``."""
    values: dict[int, Row] = {key: {"checksum": checksum, "job_id": job} for key, checksum in claims.items()}
    return move(connection, change, CLAIMS, values)


def touch(connection: Connection, keys: Iterable[int], now: float) -> None:
    """Note that bytes of these uploads arrived now."""
    mine = uploads.c.id.in_(select(IDS.table(connection).c.id))
    connection.execute(update(uploads).where(mine, uploads.c.state == "pending").values(updated=now), ids(keys))


def lock_jobs_at_rest(connection: Connection, keys: Iterable[int]) -> set[int]:
    """Return those jobs that nobody works on, and keep it so until this transaction ends."""
    mine = jobs.c.id.in_(select(IDS.table(connection).c.id))
    statement = select(jobs.c.id).where(mine, jobs.c.state != "running").with_for_update(skip_locked=True)
    return set(connection.execute(statement, ids(keys)).scalars())


class Arriving(Value, frozen=True):
    """One upload as far as its bytes are concerned."""

    id: int
    file: int
    dataset: str
    path: str
    state: str
    size: int
    part_size: int
    on_exists: str
    mtime_ns: int | None
    checksum: str | None


def arriving(connection: Connection, keys: Iterable[int]) -> dict[int, Arriving]:
    """Return where the bytes of uploads go, by id."""
    found = connection.execute(_arriving(IDS.table(connection)), ids(keys)).all()
    return {row[0]: Arriving(*row) for row in found}


@lru_cache
def _arriving(given: Subquery) -> Select[Any]:
    u = uploads.c
    own = [u.state, u.size, u.part_size, u.on_exists, u.mtime_ns, u.checksum]
    joined = uploads.join(files, files.c.id == u.file_id).join(datasets, datasets.c.id == files.c.dataset_id)
    chosen = select(u.id, u.file_id, datasets.c.name, files.c.path, *own).select_from(joined)
    return chosen.where(u.id.in_(select(given.c.id)))


def pending(connection: Connection, keys: Iterable[int]) -> set[int]:
    """Return the uploads that still take bytes."""
    statement = _pending(IDS.table(connection))
    return set(connection.execute(statement, ids(keys)).scalars())


@lru_cache
def _pending(given: Subquery) -> Select[Any]:
    mine = uploads.c.id.in_(select(given.c.id))
    return select(uploads.c.id).where(mine, uploads.c.state == "pending")


def without_verdict(connection: Connection, keys: Iterable[int]) -> dict[int, str]:
    """Return the uploads that may still get somewhere, each with its dataset: a cheap question, asked often."""
    statement = _without_verdict(IDS.table(connection))
    return {row[0]: row[1] for row in connection.execute(statement, ids(keys)).all()}


@lru_cache
def _without_verdict(given: Subquery) -> Select[Any]:
    joined = uploads.join(files, files.c.id == uploads.c.file_id).join(datasets, datasets.c.id == files.c.dataset_id)
    moving = tuple(state for state in UPLOAD if not final("upload", state))
    chosen = select(uploads.c.id, datasets.c.name).select_from(joined)
    return chosen.where(uploads.c.id.in_(select(given.c.id)), text(f"uploads.state IN ({quoted(moving)})"))


class Whole(Value, frozen=True):
    """One upload with all that is told of it."""

    id: int
    file: int
    dataset: str
    path: str
    version_number: int
    state: str
    reason: str
    size: int
    part_size: int
    on_exists: str
    mtime_ns: int | None
    checksum: str | None
    job: int | None
    created: float
    updated: float
    job_state: str | None
    job_reason: str | None
    run_at: float | None
    copy_size: int | None
    copy_checksum: str | None
    copy_tag: str | None
    copy_by: str | None
    copy_level: str | None
    copy_at: float | None


def whole(connection: Connection, keys: Iterable[int], lock: bool = False) -> dict[int, Whole]:
    """Return uploads by id, each with its path, its job and its copy; ``lock`` keeps them as they are until the end."""
    statement = _whole_given(IDS.table(connection), lock)
    return {row[0]: Whole(*row) for row in connection.execute(statement, ids(keys)).all()}


@lru_cache
def _whole_given(given: Subquery, lock: bool) -> Select[Any]:
    statement = _whole().where(uploads.c.id.in_(select(given.c.id))).order_by(uploads.c.id)
    return statement.with_for_update(of=uploads) if lock else statement


def of_file(connection: Connection, file: int) -> list[Whole]:
    """Return all uploads of one file version, the oldest first."""
    statement = _whole().where(uploads.c.file_id == file).order_by(uploads.c.id)
    return [Whole(*row) for row in connection.execute(statement).all()]


@lru_cache
def _whole() -> Select[Any]:
    u, j, c = uploads.c, jobs.c, copies.c
    joined = uploads.join(files, files.c.id == u.file_id).join(datasets, datasets.c.id == files.c.dataset_id)
    joined = joined.outerjoin(jobs, j.id == u.job_id)
    joined = joined.outerjoin(copies, and_(c.file_id == u.file_id, c.upload_id == u.id))
    named = [datasets.c.name, files.c.path, files.c.version_number]
    own = [u.state, u.reason, u.size, u.part_size, u.on_exists, u.mtime_ns, u.checksum, u.job_id, u.created, u.updated]
    proof = [c.size, c.checksum, c.tag, c.verified_by, c.level, c.verified_at]
    columns = [u.id, u.file_id, *named, *own, j.state, j.reason, j.run_at, *proof]
    return select(*(column.label(f"c{number}") for number, column in enumerate(columns))).select_from(joined)


def moving(connection: Connection, dataset: str, paths: Sequence[str]) -> dict[str, Whole]:
    """Return the newest upload of each path's newest version, whatever became of it."""
    rows = PATHS.rows({"path": path} for path in paths)
    mine = files.c.path.in_(select(PATHS.table(connection).c.path))
    statement = _whole().where(datasets.c.name == dataset, mine).order_by(uploads.c.id)
    found = [Whole(*row) for row in connection.execute(statement, rows).all()]
    return {upload.path: upload for upload in found}
