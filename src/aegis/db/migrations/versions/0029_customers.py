"""Limits that a customer's keys share, namespaces of keys, and a verification that costs less.

`aegis_verify_calls` takes the place of `aegis_verify_keys`: customers are locked before keys, what
is counted of all keys of a batch is written by one statement, and answers are columns.

Going back loses nothing: what the older tables cannot hold is set aside in `aegis_kept_0029`, and
put back by the next upgrade, except namespaces of keys that are gone by then. While it is set
aside, keys that were bound to namespaces are switched off: an older Aegis would let them
everywhere.

Locks and cost: ACCESS EXCLUSIVE on `api_keys` for a moment; the added column needs no rewrite.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

STATEMENTS = (
    """
    ALTER TABLE api_keys
        ADD COLUMN namespaces JSONB,
        ADD CONSTRAINT ck_api_keys_namespaces
            CHECK (jsonb_typeof(namespaces) = 'array' AND namespaces <> '[]')
    """,
    # Updated by every call of a customer that has limits: room for the next version on the page.
    """
    CREATE TABLE api_customers (
        customer_id VARCHAR(100) NOT NULL,
        rate_limit INTEGER,
        monthly_quota INTEGER,
        limits JSONB,
        rate_at BIGINT NOT NULL DEFAULT 0,
        rate_backlog BIGINT NOT NULL DEFAULT 0,
        period DATE,
        granted BIGINT NOT NULL DEFAULT 0,
        used BIGINT NOT NULL DEFAULT 0,
        updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT api_customers_pkey PRIMARY KEY (customer_id),
        CONSTRAINT ck_api_customers_amounts CHECK (
            rate_limit > 0
            AND monthly_quota >= 0
        ),
        CONSTRAINT ck_api_customers_balance CHECK (used <= granted)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)
    """,
    """
    CREATE TABLE api_customer_limits (
        customer_id VARCHAR(100) NOT NULL,
        name TEXT NOT NULL,
        counted_at BIGINT NOT NULL,
        backlog BIGINT NOT NULL,
        window_us BIGINT NOT NULL,
        CONSTRAINT api_customer_limits_pkey PRIMARY KEY (customer_id, name),
        CONSTRAINT api_customer_limits_customer_id_fkey
            FOREIGN KEY (customer_id) REFERENCES api_customers (customer_id) ON DELETE CASCADE
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)
    """,
    """
    CREATE TABLE api_customer_ledger (
        id BIGSERIAL PRIMARY KEY,
        customer_id VARCHAR(100) NOT NULL,
        period DATE NOT NULL,
        kind TEXT NOT NULL,
        amount BIGINT NOT NULL,
        note TEXT,
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT api_customer_ledger_customer_id_fkey
            FOREIGN KEY (customer_id) REFERENCES api_customers (customer_id),
        CONSTRAINT ck_api_customer_ledger_kind
            CHECK (kind IN ('grant', 'topup', 'adjust', 'usage', 'reset')),
        CONSTRAINT ck_api_customer_ledger_amount CHECK (
            CASE
                WHEN kind = 'adjust' THEN TRUE
                WHEN kind IN ('usage', 'reset') THEN amount <= 0
                ELSE amount >= 0
            END
        )
    )
    """,
    "CREATE INDEX idx_api_customer_ledger ON api_customer_ledger (customer_id, period, id)",
    # What a month has once it has once in the ledger too, whoever opens or closes it.
    """
    CREATE UNIQUE INDEX uq_api_customer_ledger_once
        ON api_customer_ledger (customer_id, period, kind)
        WHERE kind IN ('grant', 'usage', 'reset')
    """,
    "DROP FUNCTION aegis_verify_keys(jsonb, boolean)",
)

#: Each in a file of its own beside the revisions.
FUNCTIONS = ("aegis_key_of_hashes", "aegis_open_customer_period", "aegis_verify_calls")

TABLE_COMMENTS = {
    "api_customers": (
        "What all keys of a customer may use, and what was used of it. Locked by their calls."
    ),
    "api_customer_limits": "What a customer's keys have used together of limits that calls named.",
    "api_customer_ledger": (
        "How each customer came by the quota that its keys share, and what became of it. Rows are "
        "only added. A month that is closed adds up to 0."
    ),
}
COLUMN_COMMENTS = {
    "api_keys": {
        "namespaces": (
            "Namespaces of memory it is bound to, the default one first, each with whether it may "
            "write; NULL for any."
        ),
    },
    "api_customers": {
        "customer_id": "Who owns the keys.",
        "rate_limit": "Calls allowed a minute, of all keys together; NULL for any number.",
        "monthly_quota": (
            "Calls allowed a calendar month (UTC), of all keys together; NULL for any number."
        ),
        "limits": "Shared limits for limits that calls name: name to limit and window_s.",
        "rate_at": "When the backlog was counted, microseconds since 1970.",
        "rate_backlog": (
            "Calls that are not yet forgotten, times the window (60,000,000 microseconds); shrinks "
            "by the limit each microsecond."
        ),
        "period": "First day of the month that is counted; NULL before the first.",
        "granted": "Quota of that month: grant, top-ups and adjustments.",
        "used": "What was used of it.",
        "updated_at": "When its limits were last changed.",
    },
    "api_customer_limits": {
        "customer_id": "Who owns the keys.",
        "name": "Name of the limit, as calls say it.",
        "counted_at": "When the backlog was counted, microseconds since 1970.",
        "backlog": "What is not yet forgotten, times window_us.",
        "window_us": "Microseconds that the limit is for.",
    },
    "api_customer_ledger": {
        "id": "Number of the entry.",
        "customer_id": "Who owns the keys.",
        "period": "First day of the month it belongs to.",
        "kind": "grant, topup, adjust; at the end of the month usage and reset.",
        "amount": "What it adds to the quota; below 0 for usage and reset.",
        "note": "Why, as its author says.",
        "created_at": "When it was written.",
    },
}
FUNCTION_COMMENTS = {
    "aegis_key_of_hashes(text[])": "The key that one of these hashes opens, if there is one.",
    "aegis_open_customer_period(text, date)": (
        "Begin the month of a customer in the ledger, closing the one before; does nothing twice."
    ),
    "aegis_verify_calls(jsonb, boolean)": (
        "Decide about calls and count those that are admitted; one answer a group of calls."
    ),
}

TABLES = ("api_customer_ledger", "api_customer_limits", "api_customers")

SET_ASIDE = (
    """
    CREATE TABLE aegis_kept_0029 AS
    SELECT 'api_keys' AS table_name,
           jsonb_build_object('id', k.id, 'namespaces', k.namespaces, 'enabled', k.enabled) AS row
    FROM api_keys k
    WHERE k.namespaces IS NOT NULL
    UNION ALL
    SELECT 'api_customers', to_jsonb(t) FROM api_customers t
    UNION ALL
    SELECT 'api_customer_limits', to_jsonb(t) FROM api_customer_limits t
    UNION ALL
    SELECT 'api_customer_ledger', to_jsonb(t) FROM api_customer_ledger t
    """,
    "UPDATE api_keys SET enabled = FALSE WHERE namespaces IS NOT NULL",
)

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0029') IS NULL THEN
        RETURN;
    END IF;
    UPDATE api_keys k
    SET namespaces = kept.row -> 'namespaces',
        enabled = (kept.row ->> 'enabled')::boolean
    FROM aegis_kept_0029 kept
    WHERE kept.table_name = 'api_keys' AND (kept.row ->> 'id')::uuid = k.id;
    INSERT INTO api_customers
    SELECT (jsonb_populate_record(NULL::api_customers, jsonb_strip_nulls(kept.row))).*
    FROM aegis_kept_0029 kept WHERE kept.table_name = 'api_customers';
    INSERT INTO api_customer_limits
    SELECT (jsonb_populate_record(NULL::api_customer_limits, kept.row)).*
    FROM aegis_kept_0029 kept WHERE kept.table_name = 'api_customer_limits';
    INSERT INTO api_customer_ledger
    SELECT (jsonb_populate_record(NULL::api_customer_ledger, kept.row)).*
    FROM aegis_kept_0029 kept WHERE kept.table_name = 'api_customer_ledger'
    ORDER BY (kept.row ->> 'id')::bigint;
    PERFORM setval(
        'api_customer_ledger_id_seq', greatest((SELECT max(id) FROM api_customer_ledger), 1)
    );
    DROP TABLE aegis_kept_0029;
END
$$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for function in FUNCTIONS:
        op.execute((SQL / f"{revision}_{function}.sql").read_text(encoding="utf-8"))
    # Adds the buckets that there are, and not every one up to the slowest.
    op.execute((SQL / f"{revision}_aegis_add_histograms.sql").read_text(encoding="utf-8"))
    for table, comment in TABLE_COMMENTS.items():
        _comment(f"TABLE {table}", comment)
    for table, columns in COLUMN_COMMENTS.items():
        for column, comment in columns.items():
            _comment(f"COLUMN {table}.{column}", comment)
    for function, comment in FUNCTION_COMMENTS.items():
        _comment(f"FUNCTION {function}", comment)
    op.execute(PUT_BACK)


def downgrade() -> None:
    for statement in SET_ASIDE:
        op.execute(statement)
    for function in FUNCTION_COMMENTS:
        op.execute(f"DROP FUNCTION {function}")
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE api_keys DROP COLUMN namespaces")
    op.execute((SQL / "0014_aegis_verify_keys.sql").read_text(encoding="utf-8"))
    former = (SQL / "0015_aegis_add_histograms.sql").read_text(encoding="utf-8")
    op.execute(former.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    _comment(
        "FUNCTION aegis_verify_keys(jsonb, boolean)",
        "Decide about calls and count those that are admitted; one answer a group of calls.",
    )


def _comment(place: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {place} IS '{quoted}'")
