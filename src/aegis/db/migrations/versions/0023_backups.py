"""Backups and drills, mirrored from the folder of backups, which is what counts.

Locks and cost: two new tables.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE backups (
        name TEXT NOT NULL,
        number BIGINT NOT NULL,
        label TEXT NOT NULL,
        snapshot_at TIMESTAMPTZ NOT NULL,
        finished_at TIMESTAMPTZ NOT NULL,
        format TEXT NOT NULL,
        compression TEXT NOT NULL,
        encrypted BOOLEAN NOT NULL,
        bytes BIGINT NOT NULL,
        table_count INTEGER NOT NULL,
        row_count BIGINT NOT NULL,
        server_version TEXT NOT NULL,
        schema_revision TEXT,
        verdict TEXT NOT NULL,
        verified_level TEXT,
        verified_at TIMESTAMPTZ,
        problem TEXT,
        hold TEXT,
        local BOOLEAN NOT NULL,
        copied_to TEXT[] NOT NULL,
        noted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT backups_pkey PRIMARY KEY (name),
        CONSTRAINT ck_backups_format CHECK (format IN ('custom', 'directory')),
        CONSTRAINT ck_backups_verdict CHECK (verdict IN ('verified', 'failed', 'not_verified')),
        CONSTRAINT ck_backups_verified_level CHECK (verified_level IN ('fast', 'full'))
    )
    """,
    """
    CREATE TABLE backup_drills (
        started_at TIMESTAMPTZ NOT NULL,
        backup TEXT NOT NULL,
        verdict TEXT NOT NULL,
        rto_s DOUBLE PRECISION NOT NULL,
        rpo_s DOUBLE PRECISION NOT NULL,
        source TEXT NOT NULL,
        detail TEXT NOT NULL,
        CONSTRAINT backup_drills_pkey PRIMARY KEY (started_at),
        CONSTRAINT ck_backup_drills_verdict
            CHECK (verdict IN ('verified', 'failed', 'not_verified'))
    )
    """,
)

TABLE_COMMENTS = {
    "backups": "Backups as the folder of backups had them when this was last written there.",
    "backup_drills": "Recoveries that were timed, from the backup to a database that answers.",
}

COLUMN_COMMENTS = {
    "backups": {
        "name": "Name of the backup, which is its folder.",
        "number": "Rises with each backup of the folder, whatever the clock says.",
        "label": "What it was made for, such as nightly or before-upgrade.",
        "snapshot_at": "Everything committed before is in it.",
        "finished_at": "When it was complete.",
        "format": "Format of pg_dump.",
        "compression": "Method and level, as pg_dump takes them.",
        "encrypted": "Whether its files are encrypted.",
        "bytes": "Size of its files.",
        "table_count": "Number of tables.",
        "row_count": "Number of rows of all tables.",
        "server_version": "Version of the server that was dumped.",
        "schema_revision": "Revision of the schema in it; NULL without one.",
        "verdict": "verified, failed, or not_verified: nobody could look, or did yet.",
        "verified_level": "fast: every byte was read; full: it was restored and compared.",
        "verified_at": "When it was last looked at.",
        "problem": "What was found wrong, or why nobody could look.",
        "hold": "Why it may not be pruned; NULL where it may.",
        "local": "Whether its files are in the folder; otherwise only in a copy.",
        "copied_to": "Where copies are that were read back and compared.",
        "noted_at": "When this row was last written.",
    },
    "backup_drills": {
        "started_at": "When the drill began.",
        "backup": "Name of the backup that was recovered.",
        "verdict": "verified, failed, or not_verified: it could not be carried out.",
        "rto_s": "Seconds until Aegis answered from the restored database.",
        "rpo_s": "Seconds of work that would have been lost.",
        "source": "Where the backup was taken from: local, or a destination.",
        "detail": "What was found.",
    },
}


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    op.execute("DROP TABLE backup_drills, backups")
