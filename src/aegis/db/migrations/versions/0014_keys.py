"""Keys that are verified in one round trip: tiers, scopes, rate limits, a ledger of quota.

`aegis_verify_keys` decides about a batch of calls and counts what it admits, under one row lock a
key. `aegis_open_period` begins a key's calendar month in the ledger. Both are called by
`keys/store` alone; what they promise is written in `docs/explanation/keys.md`.

Going back loses nothing: what the older tables cannot hold is set aside in `aegis_kept_0014`, and
put back by the next upgrade, except what belongs to a key that is gone by then. Keys that were
issued at this revision are not known to an older Aegis meanwhile.

Locks and cost: ACCESS EXCLUSIVE on `api_keys` until the revision commits. The added columns need
no rewrite; the partial index reads the table once.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

STATEMENTS = (
    """
    ALTER TABLE api_keys
        ADD COLUMN scopes TEXT[] NOT NULL DEFAULT '{}',
        ADD COLUMN limits JSONB,
        ADD COLUMN revoked_at TIMESTAMPTZ
    """,
    # Keys that are not of our form, from before: whether there are any is asked once a minute.
    """
    CREATE INDEX idx_api_keys_old_form ON api_keys (id)
        WHERE key_hash NOT LIKE 'hmac-sha256:%'
    """,
    """
    CREATE TABLE api_tiers (
        name VARCHAR(50) NOT NULL,
        rate_limit INTEGER NOT NULL,
        monthly_quota INTEGER,
        price_usd DECIMAL(10, 2) NOT NULL,
        overage_allowed BOOLEAN NOT NULL DEFAULT FALSE,
        rollover_limit INTEGER NOT NULL DEFAULT 0,
        updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT api_tiers_pkey PRIMARY KEY (name),
        CONSTRAINT ck_api_tiers_name
            CHECK (name::text IN ('free', 'developer', 'pro', 'enterprise')),
        CONSTRAINT ck_api_tiers_amounts CHECK (
            rate_limit > 0
            AND monthly_quota >= 0
            AND price_usd >= 0
            AND rollover_limit >= 0
        )
    )
    """,
    # Updated by every call that is admitted: room for the next version on the same page.
    """
    CREATE TABLE api_key_meters (
        api_key_id UUID NOT NULL,
        rate_at BIGINT NOT NULL DEFAULT 0,
        rate_backlog BIGINT NOT NULL DEFAULT 0,
        period DATE,
        granted BIGINT NOT NULL DEFAULT 0,
        used BIGINT NOT NULL DEFAULT 0,
        overage BIGINT NOT NULL DEFAULT 0,
        CONSTRAINT api_key_meters_pkey PRIMARY KEY (api_key_id),
        CONSTRAINT api_key_meters_api_key_id_fkey
            FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE,
        CONSTRAINT ck_api_key_meters_balance CHECK (used <= granted + overage)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)
    """,
    """
    CREATE TABLE api_key_limits (
        api_key_id UUID NOT NULL,
        name TEXT NOT NULL,
        counted_at BIGINT NOT NULL,
        backlog BIGINT NOT NULL,
        window_us BIGINT NOT NULL,
        CONSTRAINT api_key_limits_pkey PRIMARY KEY (api_key_id, name),
        CONSTRAINT api_key_limits_api_key_id_fkey
            FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)
    """,
    """
    CREATE TABLE api_key_old_hashes (
        key_hash TEXT NOT NULL,
        api_key_id UUID NOT NULL,
        valid_until TIMESTAMPTZ NOT NULL,
        CONSTRAINT api_key_old_hashes_pkey PRIMARY KEY (key_hash),
        CONSTRAINT api_key_old_hashes_api_key_id_fkey
            FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_api_key_old_hashes_api_key_id ON api_key_old_hashes (api_key_id)",
    """
    CREATE TABLE api_key_secrets (
        id TEXT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT api_key_secrets_pkey PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE api_quota_ledger (
        id BIGSERIAL PRIMARY KEY,
        api_key_id UUID NOT NULL,
        period DATE NOT NULL,
        kind TEXT NOT NULL,
        amount BIGINT NOT NULL,
        note TEXT,
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT api_quota_ledger_api_key_id_fkey
            FOREIGN KEY (api_key_id) REFERENCES api_keys (id),
        CONSTRAINT ck_api_quota_ledger_kind CHECK (
            kind IN ('grant', 'rollover', 'topup', 'adjust', 'overage', 'usage', 'reset')
        ),
        CONSTRAINT ck_api_quota_ledger_amount CHECK (
            CASE
                WHEN kind = 'adjust' THEN TRUE
                WHEN kind IN ('usage', 'reset') THEN amount <= 0
                ELSE amount >= 0
            END
        )
    )
    """,
    "CREATE INDEX idx_api_quota_ledger_key ON api_quota_ledger (api_key_id, period, id)",
    # What a month has once it has once in the ledger too, whoever opens or closes it.
    """
    CREATE UNIQUE INDEX uq_api_quota_ledger_once ON api_quota_ledger (api_key_id, period, kind)
        WHERE kind IN ('grant', 'rollover', 'overage', 'usage', 'reset')
    """,
)

#: An operator changes them with `aegis keys tiers set`.
TIERS = """
INSERT INTO api_tiers (name, rate_limit, monthly_quota, price_usd, overage_allowed)
VALUES
    ('free', 60, 1000, 0, FALSE),
    ('developer', 300, 50000, 29, FALSE),
    ('pro', 1000, 1000000, 199, TRUE),
    ('enterprise', 6000, NULL, 999, TRUE)
"""

#: Each in a file of its own beside the revisions.
FUNCTIONS = ("aegis_open_period", "aegis_drained", "aegis_verify_keys")

TABLE_COMMENTS = {
    "api_tiers": "What a tier allows and costs; a key's own limits go before it.",
    "api_key_meters": "What each key has used: its rate and its month. Locked by every call.",
    "api_key_limits": "What each key has used of limits that calls named.",
    "api_key_old_hashes": "Keys that were rotated and still work for a while.",
    "api_key_secrets": "Which server secrets keys were hashed with; never the secrets.",
    "api_quota_ledger": (
        "How each key came by its monthly quota, and what became of it. Rows are only added; the "
        "one row of overage a month grows. A month that is closed adds up to 0."
    ),
}
COLUMN_COMMENTS = {
    "api_keys": {
        "scopes": "What it may do; a call that needs a scope is refused without it.",
        "limits": "Limits of its own for limits that calls name: name to limit and window_s.",
        "revoked_at": "When it was taken back for ever; NULL if it was not.",
    },
    "api_tiers": {
        "name": "free, developer, pro or enterprise.",
        "rate_limit": "Calls allowed a minute.",
        "monthly_quota": "Calls allowed a calendar month (UTC); NULL for any number.",
        "price_usd": "Price a month, US dollars.",
        "overage_allowed": "Whether calls above the quota are accepted, and billed as overage.",
        "rollover_limit": "How much unused quota at most is carried into the next month.",
        "updated_at": "When it was last changed.",
    },
    "api_key_meters": {
        "api_key_id": "The key.",
        "rate_at": "When the backlog was counted, microseconds since 1970.",
        "rate_backlog": (
            "Calls that are not yet forgotten, times the window (60,000,000 microseconds); shrinks "
            "by the limit each microsecond."
        ),
        "period": "First day of the month that is counted; NULL before the first.",
        "granted": "Quota of that month: grant, rollover, top-ups and adjustments.",
        "used": "What was used of it.",
        "overage": "What was accepted above it.",
    },
    "api_key_limits": {
        "api_key_id": "The key.",
        "name": "Name of the limit, as calls say it.",
        "counted_at": "When the backlog was counted, microseconds since 1970.",
        "backlog": "What is not yet forgotten, times window_us.",
        "window_us": "Microseconds that the limit is for.",
    },
    "api_key_old_hashes": {
        "key_hash": "Hash of the key as it was.",
        "api_key_id": "The key that it still opens.",
        "valid_until": "Until when.",
    },
    "api_key_secrets": {
        "id": "Fingerprint of the secret, as in the hashes made with it.",
        "created_at": "When it was first used here.",
    },
    "api_quota_ledger": {
        "id": "Number of the entry.",
        "api_key_id": "The key.",
        "period": "First day of the month it belongs to.",
        "kind": (
            "grant, rollover, topup, adjust, overage; at the end of the month usage and reset."
        ),
        "amount": "What it adds to the quota; below 0 for usage and reset.",
        "note": "Why, as its author says.",
        "created_at": "When it was written.",
    },
}
FUNCTION_COMMENTS = {
    "aegis_open_period(uuid, date)": (
        "Begin the month of a key in the ledger, closing the one before; does nothing twice."
    ),
    "aegis_drained(bigint, bigint, bigint, bigint, bigint, bigint)": (
        "A backlog as it is now: less by what was forgotten, within 0 and the limit."
    ),
    "aegis_verify_keys(jsonb, boolean)": (
        "Decide about calls and count those that are admitted; one answer a group of calls."
    ),
}

TABLES = (
    "api_tiers",
    "api_key_secrets",
    "api_key_old_hashes",
    "api_key_limits",
    "api_key_meters",
    "api_quota_ledger",
)

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0014') IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM api_tiers;
    INSERT INTO api_tiers
    SELECT (jsonb_populate_record(NULL::api_tiers, kept.row)).*
    FROM aegis_kept_0014 kept WHERE kept.table_name = 'api_tiers';
    INSERT INTO api_key_secrets
    SELECT (jsonb_populate_record(NULL::api_key_secrets, kept.row)).*
    FROM aegis_kept_0014 kept WHERE kept.table_name = 'api_key_secrets';
    UPDATE api_keys k
    SET scopes = (jsonb_populate_record(k, kept.row)).scopes,
        limits = nullif(kept.row -> 'limits', 'null'),
        revoked_at = (kept.row ->> 'revoked_at')::timestamptz
    FROM aegis_kept_0014 kept
    WHERE kept.table_name = 'api_keys' AND (kept.row ->> 'id')::uuid = k.id;
    INSERT INTO api_key_old_hashes
    SELECT (jsonb_populate_record(NULL::api_key_old_hashes, kept.row)).*
    FROM aegis_kept_0014 kept
    JOIN api_keys k ON k.id = (kept.row ->> 'api_key_id')::uuid
    WHERE kept.table_name = 'api_key_old_hashes';
    INSERT INTO api_key_limits
    SELECT (jsonb_populate_record(NULL::api_key_limits, kept.row)).*
    FROM aegis_kept_0014 kept
    JOIN api_keys k ON k.id = (kept.row ->> 'api_key_id')::uuid
    WHERE kept.table_name = 'api_key_limits';
    INSERT INTO api_key_meters
    SELECT (jsonb_populate_record(NULL::api_key_meters, kept.row)).*
    FROM aegis_kept_0014 kept
    JOIN api_keys k ON k.id = (kept.row ->> 'api_key_id')::uuid
    WHERE kept.table_name = 'api_key_meters';
    INSERT INTO api_quota_ledger
    SELECT (jsonb_populate_record(NULL::api_quota_ledger, kept.row)).*
    FROM aegis_kept_0014 kept
    JOIN api_keys k ON k.id = (kept.row ->> 'api_key_id')::uuid
    WHERE kept.table_name = 'api_quota_ledger'
    ORDER BY (kept.row ->> 'id')::bigint;
    PERFORM setval('api_quota_ledger_id_seq', greatest((SELECT max(id) FROM api_quota_ledger), 1));
    DROP TABLE aegis_kept_0014;
END
$$
"""

SET_ASIDE = """
CREATE TABLE aegis_kept_0014 AS
SELECT 'api_keys' AS table_name,
       jsonb_build_object(
           'id', k.id, 'scopes', k.scopes, 'limits', k.limits, 'revoked_at', k.revoked_at
       ) AS row
FROM api_keys k
WHERE k.scopes <> '{}' OR k.limits IS NOT NULL OR k.revoked_at IS NOT NULL
UNION ALL
SELECT 'api_tiers', to_jsonb(t) FROM api_tiers t
UNION ALL
SELECT 'api_key_secrets', to_jsonb(t) FROM api_key_secrets t
UNION ALL
SELECT 'api_key_old_hashes', to_jsonb(t) FROM api_key_old_hashes t
UNION ALL
SELECT 'api_key_limits', to_jsonb(t) FROM api_key_limits t
UNION ALL
SELECT 'api_key_meters', to_jsonb(t) FROM api_key_meters t
UNION ALL
SELECT 'api_quota_ledger', to_jsonb(t) FROM api_quota_ledger t
"""


def upgrade() -> None:
    for statement in (*STATEMENTS, TIERS, PUT_BACK):
        op.execute(statement)
    for function in FUNCTIONS:
        op.execute((SQL / f"{revision}_{function}.sql").read_text(encoding="utf-8"))
    for table, comment in TABLE_COMMENTS.items():
        _comment(f"TABLE {table}", comment)
    for table, columns in COLUMN_COMMENTS.items():
        for column, comment in columns.items():
            _comment(f"COLUMN {table}.{column}", comment)
    for function, comment in FUNCTION_COMMENTS.items():
        _comment(f"FUNCTION {function}", comment)


def downgrade() -> None:
    op.execute(SET_ASIDE)
    for function in FUNCTION_COMMENTS:
        op.execute(f"DROP FUNCTION {function}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX idx_api_keys_old_form")
    op.execute(
        "ALTER TABLE api_keys DROP COLUMN scopes, DROP COLUMN limits, DROP COLUMN revoked_at"
    )


def _comment(place: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {place} IS '{quoted}'")
