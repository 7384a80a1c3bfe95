"""Forgetting: when a memory expires, how much it is used, what was archived, what was erased.

Going back loses nothing: what the older tables cannot hold is set aside in `aegis_kept_0011` and
put back by the next upgrade, except where the memory is gone by then.

Locks and cost: ACCESS EXCLUSIVE on `episodic_memory` and `semantic_memory` until the revision
commits. The added columns have no default, so nothing is rewritten; each index reads its table
once, about a second per million rows, and holds only the rows that expire.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE episodic_memory ADD COLUMN expires_at TIMESTAMPTZ",
    "ALTER TABLE semantic_memory ADD COLUMN expires_at TIMESTAMPTZ",
    # The namespace first: recall asks whether one has anything expired, the sweep goes by
    # namespaces, too.
    """
    CREATE INDEX idx_episodic_expires_at ON episodic_memory (namespace, expires_at)
        WHERE expires_at IS NOT NULL
    """,
    """
    CREATE INDEX idx_semantic_expires_at ON semantic_memory (namespace, expires_at)
        WHERE expires_at IS NOT NULL
    """,
    # Rows are written again and again: half of a page is left free, so that it stays on its page.
    """
    CREATE TABLE memory_usage (
        episode_id INTEGER NOT NULL,
        recall_count BIGINT NOT NULL,
        last_recalled_at TIMESTAMPTZ NOT NULL,
        CONSTRAINT memory_usage_pkey PRIMARY KEY (episode_id),
        CONSTRAINT memory_usage_episode_id_fkey
            FOREIGN KEY (episode_id) REFERENCES episodic_memory (id) ON DELETE CASCADE
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE memory_holds (
        episode_id INTEGER NOT NULL,
        reason TEXT NOT NULL,
        held_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT memory_holds_pkey PRIMARY KEY (episode_id),
        CONSTRAINT memory_holds_episode_id_fkey
            FOREIGN KEY (episode_id) REFERENCES episodic_memory (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE memory_policies (
        namespace TEXT NOT NULL,
        event_type TEXT NOT NULL,
        importance TEXT NOT NULL,
        ttl_s BIGINT NOT NULL,
        action TEXT NOT NULL,
        set_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT memory_policies_pkey PRIMARY KEY (namespace, event_type, importance),
        CONSTRAINT ck_memory_policies_importance
            CHECK (importance IN ('', 'low', 'medium', 'high', 'critical')),
        CONSTRAINT ck_memory_policies_ttl_s CHECK (ttl_s > 0),
        CONSTRAINT ck_memory_policies_action CHECK (action IN ('archive', 'delete'))
    )
    """,
    """
    CREATE TABLE memory_archives (
        id BIGSERIAL NOT NULL,
        namespace TEXT NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT NOT NULL,
        state TEXT NOT NULL,
        path TEXT NOT NULL,
        rows BIGINT NOT NULL DEFAULT 0,
        size_bytes BIGINT NOT NULL DEFAULT 0,
        sha256 TEXT,
        digest TEXT,
        ids INTEGER[] NOT NULL DEFAULT '{}',
        oldest_at TIMESTAMPTZ,
        newest_at TIMESTAMPTZ,
        started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        completed_at TIMESTAMPTZ,
        restored_at TIMESTAMPTZ,
        CONSTRAINT memory_archives_pkey PRIMARY KEY (id),
        CONSTRAINT ck_memory_archives_kind CHECK (kind IN ('episode', 'fact')),
        CONSTRAINT ck_memory_archives_reason CHECK (reason IN ('decay', 'expired')),
        CONSTRAINT ck_memory_archives_state CHECK (state IN ('writing', 'complete', 'restored'))
    )
    """,
    "CREATE INDEX idx_memory_archives_namespace ON memory_archives (namespace, id)",
    """
    CREATE TABLE memory_erasures (
        id BIGSERIAL NOT NULL,
        namespace TEXT,
        state TEXT NOT NULL,
        stage TEXT NOT NULL,
        subject TEXT NOT NULL,
        actor TEXT,
        counts JSONB NOT NULL DEFAULT '{}',
        digests JSONB NOT NULL DEFAULT '{}',
        files JSONB NOT NULL DEFAULT '[]',
        verification JSONB,
        signature TEXT,
        started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        finished_at TIMESTAMPTZ,
        CONSTRAINT memory_erasures_pkey PRIMARY KEY (id),
        CONSTRAINT ck_memory_erasures_state CHECK (state IN ('running', 'complete'))
    )
    """,
    # Two runs for one subject are one job.
    """
    CREATE UNIQUE INDEX uq_memory_erasures_running
        ON memory_erasures (subject, coalesce(namespace, ''))
        WHERE state = 'running'
    """,
)

COMMENTS = {
    "COLUMN episodic_memory.expires_at": (
        "From when on it is not recalled and may be swept away; NULL for never."
    ),
    "COLUMN semantic_memory.expires_at": (
        "From when on it is not recalled and may be swept away; NULL for never."
    ),
    "TABLE memory_usage": "How often episodes were recalled; one never recalled has no row.",
    "COLUMN memory_usage.episode_id": "The episode (episodic_memory.id).",
    "COLUMN memory_usage.recall_count": "Answers of recall that it was part of.",
    "COLUMN memory_usage.last_recalled_at": "When it was part of an answer last.",
    "TABLE memory_holds": "Episodes that neither decay nor a time to live takes away.",
    "COLUMN memory_holds.episode_id": "The episode (episodic_memory.id).",
    "COLUMN memory_holds.reason": "Why it is held.",
    "COLUMN memory_holds.held_at": "Since when.",
    "TABLE memory_policies": (
        "How long what is recorded from now on lives; the policy that says most wins."
    ),
    "COLUMN memory_policies.namespace": "Whose memory.",
    "COLUMN memory_policies.event_type": "Of which type; empty for any.",
    "COLUMN memory_policies.importance": "Of which importance; empty for any.",
    "COLUMN memory_policies.ttl_s": "Seconds from its recording until it expires.",
    "COLUMN memory_policies.action": "What the sweep does with what expired: archive or delete.",
    "COLUMN memory_policies.set_at": "When the policy was set.",
    "TABLE memory_archives": "Parquet files that hold what was forgotten.",
    "COLUMN memory_archives.id": "Number of the archive.",
    "COLUMN memory_archives.namespace": "Whose memory; one archive holds one namespace.",
    "COLUMN memory_archives.kind": "What its rows are: episode or fact.",
    "COLUMN memory_archives.reason": "Why they were forgotten: decay or expired.",
    "COLUMN memory_archives.state": (
        "writing: the rows are still in their table; complete: they are in the file alone; "
        "restored: they are back."
    ),
    "COLUMN memory_archives.path": "The file, on the machine that wrote it.",
    "COLUMN memory_archives.rows": "How many rows it holds.",
    "COLUMN memory_archives.size_bytes": "Size of the file.",
    "COLUMN memory_archives.sha256": "SHA-256 of the file, hexadecimal.",
    "COLUMN memory_archives.digest": "SHA-256 of the rows' values, hexadecimal.",
    "COLUMN memory_archives.ids": "Ids of its rows.",
    "COLUMN memory_archives.oldest_at": "Time of its oldest row.",
    "COLUMN memory_archives.newest_at": "Time of its newest row.",
    "COLUMN memory_archives.started_at": "When it was begun.",
    "COLUMN memory_archives.completed_at": "When its rows left their table.",
    "COLUMN memory_archives.restored_at": "When the whole of it was restored.",
    "TABLE memory_erasures": (
        "Proofs of deletion. Holds nothing of what was deleted: only keyed digests and counts."
    ),
    "COLUMN memory_erasures.id": "Number of the erasure.",
    "COLUMN memory_erasures.namespace": "The one namespace that was searched; NULL for all.",
    "COLUMN memory_erasures.state": "running until everything is done; complete.",
    "COLUMN memory_erasures.stage": "What is being done, or was when it was interrupted.",
    "COLUMN memory_erasures.subject": "HMAC-SHA256 of the subject's names, hexadecimal.",
    "COLUMN memory_erasures.actor": "Who asked for it, as the caller said.",
    "COLUMN memory_erasures.counts": "Rows deleted or cleared, by table; files and logs, too.",
    "COLUMN memory_erasures.digests": "HMAC digests of the deleted rows' ids, by table.",
    "COLUMN memory_erasures.files": "Replaced archive files that are still to be removed.",
    "COLUMN memory_erasures.verification": "What the search after the deletion found, and where.",
    "COLUMN memory_erasures.signature": "HMAC-SHA256 of this record, hexadecimal.",
    "COLUMN memory_erasures.started_at": "When it was begun.",
    "COLUMN memory_erasures.finished_at": "When it was done.",
}

SET_ASIDE = """
CREATE TABLE aegis_kept_0011 AS
SELECT 'episodic_memory' AS name, jsonb_build_object('id', id, 'expires_at', expires_at) AS kept
FROM episodic_memory
WHERE expires_at IS NOT NULL
UNION ALL
SELECT 'semantic_memory', jsonb_build_object('id', id, 'expires_at', expires_at)
FROM semantic_memory
WHERE expires_at IS NOT NULL
UNION ALL
SELECT 'memory_usage', to_jsonb(t) FROM memory_usage t
UNION ALL
SELECT 'memory_holds', to_jsonb(t) FROM memory_holds t
UNION ALL
SELECT 'memory_policies', to_jsonb(t) FROM memory_policies t
UNION ALL
SELECT 'memory_archives', to_jsonb(t) FROM memory_archives t
UNION ALL
SELECT 'memory_erasures', to_jsonb(t) FROM memory_erasures t
"""

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0011') IS NULL THEN
        RETURN;
    END IF;
    UPDATE episodic_memory e
    SET expires_at = (k.kept ->> 'expires_at')::timestamptz
    FROM aegis_kept_0011 k
    WHERE k.name = 'episodic_memory' AND e.id = (k.kept ->> 'id')::integer;
    UPDATE semantic_memory f
    SET expires_at = (k.kept ->> 'expires_at')::timestamptz
    FROM aegis_kept_0011 k
    WHERE k.name = 'semantic_memory' AND f.id = (k.kept ->> 'id')::integer;
    INSERT INTO memory_usage
    SELECT r.*
    FROM aegis_kept_0011 k
    CROSS JOIN LATERAL jsonb_populate_record(NULL::memory_usage, k.kept) r
    JOIN episodic_memory e ON e.id = r.episode_id
    WHERE k.name = 'memory_usage';
    INSERT INTO memory_holds
    SELECT r.*
    FROM aegis_kept_0011 k
    CROSS JOIN LATERAL jsonb_populate_record(NULL::memory_holds, k.kept) r
    JOIN episodic_memory e ON e.id = r.episode_id
    WHERE k.name = 'memory_holds';
    INSERT INTO memory_policies
    SELECT r.*
    FROM aegis_kept_0011 k
    CROSS JOIN LATERAL jsonb_populate_record(NULL::memory_policies, k.kept) r
    WHERE k.name = 'memory_policies';
    INSERT INTO memory_archives
    SELECT r.*
    FROM aegis_kept_0011 k
    CROSS JOIN LATERAL jsonb_populate_record(NULL::memory_archives, k.kept) r
    WHERE k.name = 'memory_archives';
    INSERT INTO memory_erasures
    SELECT r.*
    FROM aegis_kept_0011 k
    CROSS JOIN LATERAL jsonb_populate_record(NULL::memory_erasures, k.kept) r
    WHERE k.name = 'memory_erasures';
    PERFORM setval('memory_archives_id_seq', greatest(max(id), 1), max(id) IS NOT NULL)
    FROM memory_archives;
    PERFORM setval('memory_erasures_id_seq', greatest(max(id), 1), max(id) IS NOT NULL)
    FROM memory_erasures;
    DROP TABLE aegis_kept_0011;
END
$$
"""

DROPS = (
    "DROP TABLE memory_erasures",
    "DROP TABLE memory_archives",
    "DROP TABLE memory_policies",
    "DROP TABLE memory_holds",
    "DROP TABLE memory_usage",
    "ALTER TABLE semantic_memory DROP COLUMN expires_at",
    "ALTER TABLE episodic_memory DROP COLUMN expires_at",
)


def upgrade() -> None:
    for statement in (*STATEMENTS, PUT_BACK):
        op.execute(statement)
    for what, meaning in COMMENTS.items():
        text = meaning.replace("'", "''")
        op.execute(f"COMMENT ON {what} IS '{text}'")


def downgrade() -> None:
    for statement in (SET_ASIDE, *DROPS):
        op.execute(statement)
