"""The tables. Times are seconds since 1970 UTC, sizes bytes, checksums ``algorithm:hex``, keys integers.

Every state column has a CHECK made from its table in ``model/states.py``.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dray.model.states import MACHINES, UPLOAD_LIVE

REVISION = "0001"
"""The newest migration; a database made here from nothing begins with it."""

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)

Key = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type says INTEGER."""

Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared byte by byte on both databases, so that pages come in the same order."""


def quoted(states: tuple[str, ...]) -> str:
    """Return a list of states as SQL."""
    return ", ".join(f"'{state}'" for state in states)


def one_of(machine: str) -> CheckConstraint:
    """Return the CHECK that a column holds a state of ``machine``."""
    return CheckConstraint(f"state IN ({quoted(tuple(MACHINES[machine]))})", name="state")


datasets = Table(
    "datasets",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
"""``files`` and ``bytes`` count what is current; kept by whoever publishes, so that a list needs no sum."""

stores = Table(
    "stores",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Bytewise, nullable=False, unique=True),
)

PROVED = text("checksum IS NOT NULL")

files = Table(
    "files",
    metadata,
    Column("id", Key, primary_key=True),
    Column("dataset_id", Key, ForeignKey("datasets.id"), nullable=False),
    Column("path", Bytewise, nullable=False),
    Column("version_number", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", Text),
    Column("mtime_ns", BigInteger),
    Column("created", Double, nullable=False),
    Column("published", Double),
    Column("current", Boolean, nullable=False),
    UniqueConstraint("dataset_id", "path", "version_number"),
    Index(
        "uq_files_current",
        "dataset_id",
        "path",
        unique=True,
        sqlite_where=text("current"),
        postgresql_where=text("current"),
    ),
    # A piece of the digest is enough to find it, and keeps what every file adds to a random place small.
    Index("ix_files_checksum", text("substr(checksum, 8, 10)"), sqlite_where=PROVED, postgresql_where=PROVED),
)
"""One version of one path. ``published`` is NULL until its first verified copy has the final name."""

LIVE = text(f"state IN ({quoted(UPLOAD_LIVE)})")
OPEN = text("state <> 'accepted'")
LEFT = text("leftover")

uploads = Table(
    "uploads",
    metadata,
    Column("id", Key, primary_key=True),
    Column("file_id", Key, ForeignKey("files.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("on_exists", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("part_size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger),
    Column("checksum", Text),
    Column("reason", Text, nullable=False),
    Column("token_id", Key),
    Column("job_id", Key),
    Column("leftover", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    one_of("upload"),
    Index("uq_uploads_live", "file_id", unique=True, sqlite_where=LIVE, postgresql_where=LIVE),
    Index("ix_uploads_file", "file_id"),
    Index("ix_uploads_open", "state", sqlite_where=OPEN, postgresql_where=OPEN),
    Index("ix_uploads_leftover", "id", sqlite_where=LEFT, postgresql_where=LEFT),
)
"""``checksum`` is the claim from ``uploaded`` on; ``leftover`` says that staged bytes may still have to be removed."""

copies = Table(
    "copies",
    metadata,
    Column("id", Key, primary_key=True),
    Column("file_id", Key, ForeignKey("files.id"), nullable=False),
    Column("store_id", Key, ForeignKey("stores.id"), nullable=False),
    Column("upload_id", Key, nullable=False),
    Column("state", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("verified_by", Text, nullable=False),
    Column("verified_at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("updated", Double, nullable=False),
    one_of("copy"),
    UniqueConstraint("file_id", "store_id"),
    Index(
        "ix_copies_damaged",
        "file_id",
        sqlite_where=text("state <> 'verified'"),
        postgresql_where=text("state <> 'verified'"),
    ),
)

WAITING = text("state IN ('waiting', 'running')")
SWEEP = text("kind = 'sweep' AND state IN ('waiting', 'running')")

jobs = Table(
    "jobs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("first_failed_at", Double),
    Column("lease_until", Double, nullable=False),
    Column("run_at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    one_of("job"),
    Index("ix_jobs_open", "state", "run_at", sqlite_where=WAITING, postgresql_where=WAITING),
    Index("uq_jobs_sweep", "kind", unique=True, sqlite_where=SWEEP, postgresql_where=SWEEP),
    sqlite_autoincrement=True,
)
"""Numbers are never used again, since (id, attempt) fences what a late worker may record."""

events = Table(
    "events",
    metadata,
    Column("id", Key, primary_key=True),
    Column("stamp", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("dataset_id", Key),
    Column("file_id", Key),
    Column("upload_id", Key),
    Column("actor", Text, nullable=False),
    Column("data", Text),
    Index(
        "ix_events_file",
        "file_id",
        sqlite_where=text("file_id IS NOT NULL"),
        postgresql_where=text("file_id IS NOT NULL"),
    ),
    Index("ix_events_stamp", "stamp", "id").ddl_if(dialect="postgresql"),
    sqlite_autoincrement=True,
)
"""What happened, append only. ``stamp`` orders on PostgreSQL, where ids commit out of order (ADR 4); 0 on SQLite."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("datasets", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("last_used", Double),
    Column("revoked", Double),
)
"""``digest`` is the sha256 of the secret, ``scopes`` and ``datasets`` are separated by spaces."""

answers = Table(
    "answers",
    metadata,
    Column("token_id", Key, primary_key=True, autoincrement=False),
    Column("key", Bytewise, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    Index("ix_answers_created", "created"),
)
"""Answers to POSTs with an Idempotency-Key."""

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""``events``: what PostgreSQL adds to a transaction number to make a stamp (more after a restore elsewhere)."""
