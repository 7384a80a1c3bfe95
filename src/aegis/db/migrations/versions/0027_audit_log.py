"""Who changed what through Aegis: a log that is only added to, each row chained to the one before.

`audit_head` is one row: where the chain stands, and what appending locks. `audit_seals` keep where
the chain stood when old rows were let go. Triggers refuse every other change, also where
`session_replication_role` would pass them by; who may switch triggers off is found by the chain.

Going back sets the rows aside; coming again puts them back as they were, and the chain still holds.

Locks and cost: new tables alone.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

TABLES = ("audit_head", "audit_log", "audit_seals", "audit_verifications")
#: Table, the function that guards it.
GUARDS = {
    "audit_head": "aegis_audit_head_moves_on",
    "audit_log": "aegis_audit_log_kept",
    "audit_seals": "aegis_audit_seals_kept",
}

TABLE_COMMENTS = {
    "audit_head": "Where the chain of the audit log stands; one row, which appending locks.",
    "audit_log": "Who changed what through Aegis; only added to, each row chained to the last.",
    "audit_seals": "Where the chain stood when old rows were let go; only added to.",
    "audit_verifications": "When the chain was verified, and what was found.",
}
COLUMN_COMMENTS = {
    "audit_head": {
        "only_row": "Always true: there is one head.",
        "log_id": "Which log this is; part of every hash, so that no row fits into another log.",
        "seq": "Number of the last row; 0 before the first.",
        "hash": "Hash of the last row; zeros before the first.",
    },
    "audit_log": {
        "seq": "Number of the row, without gaps.",
        "recorded_at": "When it was written, by the clock of the server.",
        "action": "What was done, such as keys.revoke.",
        "actor_kind": "operator, key, cli, mcp, worker, service or library.",
        "actor_id": "Id of the key, user@host, the job; NULL where there is none.",
        "face": "How it came in: cli, http, mcp, worker or library.",
        "request_id": "Id of the request over HTTP; NULL otherwise.",
        "object_kind": "What was changed, such as key or plan.",
        "object_id": "Its id, or a keyed digest of its name; NULL where it is not one thing.",
        "details": "What changed: ids, numbers, fixed words; of free text a keyed digest alone.",
        "previous_hash": "Hash of the row before; zeros for the first.",
        "hash": "SHA-256 of previous_hash and of what the row says.",
        "secret_id": "Fingerprint of the secret that signed it.",
        "signature": "HMAC-SHA-256 of the hash under that secret.",
    },
    "audit_seals": {
        "through_seq": "Number of the last row that was let go.",
        "from_seq": "Number of the first one.",
        "hash": "Hash of the last row that was let go.",
        "row_count": "How many rows there were.",
        "first_recorded_at": "When the first one was written.",
        "last_recorded_at": "When the last one was written.",
        "sealed_at": "When they were let go.",
        "secret_id": "Fingerprint of the secret that signed it.",
        "signature": "HMAC-SHA-256 of all of this under that secret.",
    },
    "audit_verifications": {
        "id": "Number of the verification.",
        "verified_at": "When it ended.",
        "complete": "Whether it began at the first row that there is.",
        "from_seq": "Number of the first row that was read.",
        "through_seq": "Number of the last row, as the head said.",
        "row_count": "How many rows were read.",
        "problem_count": "How many were not as they were written.",
        "warning_count": "How many things make tampering easier, or could not be told.",
        "first_finding": "The first of these, in words.",
        "elapsed_ms": "How long it took.",
    },
}
FUNCTION_COMMENTS = {
    "aegis_audit_log_kept": "Refuse to change a row, or to take one away that no seal covers.",
    "aegis_audit_seals_kept": "Refuse to change a seal, or to take one away.",
    "aegis_audit_head_moves_on": "Refuse to move the head back, or to take it away.",
}

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0027') IS NULL THEN
        INSERT INTO audit_head DEFAULT VALUES;
        RETURN;
    END IF;
    INSERT INTO audit_head
    SELECT (jsonb_populate_record(NULL::audit_head, kept.row)).*
    FROM aegis_kept_0027 kept WHERE kept.table_name = 'audit_head';
    INSERT INTO audit_log
    SELECT (jsonb_populate_record(NULL::audit_log, kept.row)).*
    FROM aegis_kept_0027 kept WHERE kept.table_name = 'audit_log'
    ORDER BY (kept.row ->> 'seq')::bigint;
    INSERT INTO audit_seals
    SELECT (jsonb_populate_record(NULL::audit_seals, kept.row)).*
    FROM aegis_kept_0027 kept WHERE kept.table_name = 'audit_seals';
    INSERT INTO audit_verifications OVERRIDING SYSTEM VALUE
    SELECT (jsonb_populate_record(NULL::audit_verifications, kept.row)).*
    FROM aegis_kept_0027 kept WHERE kept.table_name = 'audit_verifications'
    ORDER BY (kept.row ->> 'id')::bigint;
    PERFORM setval(
        pg_get_serial_sequence('audit_verifications', 'id'),
        greatest((SELECT max(id) FROM audit_verifications), 1),
        EXISTS (SELECT FROM audit_verifications)
    );
    DROP TABLE aegis_kept_0027;
END
$$
"""

SET_ASIDE = """
CREATE TABLE aegis_kept_0027 AS
SELECT 'audit_head' AS table_name, to_jsonb(t) AS row FROM audit_head t
UNION ALL
SELECT 'audit_log', to_jsonb(t) FROM audit_log t
UNION ALL
SELECT 'audit_seals', to_jsonb(t) FROM audit_seals t
UNION ALL
SELECT 'audit_verifications', to_jsonb(t) FROM audit_verifications t
"""


def upgrade() -> None:
    for statement in (*_statements("audit_tables"), PUT_BACK, *_statements("audit_guards")):
        op.execute(statement)
    for table, function in GUARDS.items():
        for name, event in (
            (f"tr_{table}_rows", "UPDATE OR DELETE ON {} FOR EACH ROW"),
            (f"tr_{table}_whole", "TRUNCATE ON {} FOR EACH STATEMENT"),
        ):
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event.format(table)} EXECUTE FUNCTION {function}()"
            )
            # Whatever `session_replication_role` says.
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")
    for function, text in FUNCTION_COMMENTS.items():
        op.execute(f"COMMENT ON FUNCTION {function}() IS '{text}'")


def downgrade() -> None:
    op.execute(SET_ASIDE)
    op.execute(f"DROP TABLE {', '.join(reversed(TABLES))}")
    for function in FUNCTION_COMMENTS:
        op.execute(f"DROP FUNCTION {function}()")


def _statements(name: str) -> list[str]:
    text = (SQL / f"{revision}_{name}.sql").read_text(encoding="utf-8")
    return text.split("\n;\n")[:-1]
