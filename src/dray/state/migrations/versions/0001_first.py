"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def only(condition: str) -> dict[str, Any]:
    """Return the words for an index on some rows only."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    for make in (datasets, stores, files, uploads, copies, jobs, events, tokens, answers, counters):
        make()
    op.execute("INSERT INTO counters (name, value) VALUES ('events', 0)")


def datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", BYTEWISE, nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )


def stores() -> None:
    op.create_table(
        "stores",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", BYTEWISE, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stores")),
        sa.UniqueConstraint("name", name=op.f("uq_stores_name")),
    )


def files() -> None:
    op.create_table(
        "files",
        sa.Column("id", KEY, nullable=False),
        sa.Column("dataset_id", KEY, nullable=False),
        sa.Column("path", BYTEWISE, nullable=False),
        sa.Column("version_number", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("published", sa.Double(), nullable=True),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_files_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint(
            "dataset_id", "path", "version_number", name=op.f("uq_files_dataset_id_path_version_number")
        ),
    )
    op.create_index("uq_files_current", "files", ["dataset_id", "path"], unique=True, **only("current"))
    op.create_index(
        "ix_files_checksum",
        "files",
        [sa.text("substr(checksum, 8, 10)")],
        unique=False,
        **only("checksum IS NOT NULL"),
    )


def uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", KEY, nullable=False),
        sa.Column("file_id", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("on_exists", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("part_size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("checksum", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("token_id", KEY, nullable=True),
        sa.Column("job_id", KEY, nullable=True),
        sa.Column("leftover", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'uploaded', 'accepted', 'rejected', 'failed', 'cancelled')",
            name=op.f("ck_uploads_state"),
        ),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_uploads_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_file", "uploads", ["file_id"], unique=False)
    op.create_index("ix_uploads_leftover", "uploads", ["id"], unique=False, **only("leftover"))
    op.create_index("ix_uploads_open", "uploads", ["state"], unique=False, **only("state <> 'accepted'"))
    op.create_index(
        "uq_uploads_live", "uploads", ["file_id"], unique=True, **only("state IN ('pending', 'uploaded', 'accepted')")
    )


def copies() -> None:
    op.create_table(
        "copies",
        sa.Column("id", KEY, nullable=False),
        sa.Column("file_id", KEY, nullable=False),
        sa.Column("store_id", KEY, nullable=False),
        sa.Column("upload_id", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("verified_by", sa.Text(), nullable=False),
        sa.Column("verified_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('arriving', 'verified', 'lost', 'corrupt', 'removed')", name=op.f("ck_copies_state")
        ),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_copies_file_id")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_copies_store_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_copies")),
        sa.UniqueConstraint("file_id", "store_id", name=op.f("uq_copies_file_id_store_id")),
    )
    op.create_index("ix_copies_damaged", "copies", ["file_id"], unique=False, **only("state <> 'verified'"))


def jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("run_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'dead')", name=op.f("ck_jobs_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_jobs_open", "jobs", ["state", "run_at"], unique=False, **only("state IN ('waiting', 'running')")
    )
    op.create_index(
        "uq_jobs_sweep", "jobs", ["kind"], unique=True, **only("kind = 'sweep' AND state IN ('waiting', 'running')")
    )


def events() -> None:
    op.create_table(
        "events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dataset_id", KEY, nullable=True),
        sa.Column("file_id", KEY, nullable=True),
        sa.Column("upload_id", KEY, nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_file", "events", ["file_id"], unique=False, **only("file_id IS NOT NULL"))
    if op.get_context().dialect.name == "postgresql":
        op.create_index("ix_events_stamp", "events", ["stamp", "id"], unique=False)


def tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("datasets", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=True),
        sa.Column("last_used", sa.Double(), nullable=True),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )


def answers() -> None:
    op.create_table(
        "answers",
        sa.Column("token_id", KEY, autoincrement=False, nullable=False),
        sa.Column("key", BYTEWISE, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "key", name=op.f("pk_answers")),
    )
    op.create_index("ix_answers_created", "answers", ["created"], unique=False)


def counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
