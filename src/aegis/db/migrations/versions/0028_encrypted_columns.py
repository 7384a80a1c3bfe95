"""Which columns are encrypted, told by the database itself.

Aegis encrypts before it writes. A process that does not know, or has other settings, must not put
clear text beside encrypted text: a trigger on each column that may be encrypted refuses it, and
refuses what looks encrypted where nothing is.

Going back is refused while any column is encrypted: older code would show encrypted text to people
and put it on invoices. `aegis security encrypt disable --all` decrypts first.

Locks and cost: ACCESS EXCLUSIVE on `billing_accounts` for a column without a default, SHARE ROW
EXCLUSIVE on `billing_invoices` and `billing_stripe_outbox` for their triggers; nothing is rewritten
or read but `billing_accounts`, by its index.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

#: Columns that may be encrypted, with their fields where they are JSON.
SEALABLE = {
    "billing_accounts": {"name": (), "email": (), "address": ()},
    "billing_invoices": {"customer_name": (), "customer_address": ()},
    "billing_stripe_outbox": {"payload": ("name", "email")},
}

TABLE = """
CREATE TABLE encrypted_columns (
    table_name TEXT NOT NULL,
    column_name TEXT NOT NULL,
    state TEXT NOT NULL,
    key_id TEXT NOT NULL,
    older_keys TEXT[] NOT NULL DEFAULT '{}',
    began_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    verified_at TIMESTAMPTZ,
    clear_values BIGINT,
    damaged_values BIGINT,
    CONSTRAINT encrypted_columns_pkey PRIMARY KEY (table_name, column_name),
    CONSTRAINT ck_encrypted_columns_state
        CHECK (state IN ('encrypting', 'encrypted', 'decrypting')),
    CONSTRAINT ck_encrypted_columns_verified CHECK (
        (verified_at IS NULL) = (clear_values IS NULL)
        AND (verified_at IS NULL) = (damaged_values IS NULL)
    )
)
"""

COMMENTS = {
    "TABLE encrypted_columns": "Columns that Aegis encrypts; others hold clear text.",
    "COLUMN encrypted_columns.table_name": "The table.",
    "COLUMN encrypted_columns.column_name": "The column.",
    "COLUMN encrypted_columns.state": "encrypting (clear values are left), encrypted, or "
    "decrypting (encrypted values are left, new ones are clear).",
    "COLUMN encrypted_columns.key_id": "Key that new values are encrypted with; never the key.",
    "COLUMN encrypted_columns.older_keys": "Keys that values may still be encrypted with, while "
    "they are rotated.",
    "COLUMN encrypted_columns.began_at": "When its encryption was begun.",
    "COLUMN encrypted_columns.changed_at": "When its state or key last changed.",
    "COLUMN encrypted_columns.verified_at": "When every value was last decrypted to see whether "
    "it can be; NULL for never.",
    "COLUMN encrypted_columns.clear_values": "Values that were clear then.",
    "COLUMN encrypted_columns.damaged_values": "Values that did not decrypt then.",
    "COLUMN billing_accounts.email_hash": "Keyed hash of an encrypted e-mail address, by which it "
    "is found; NULL where the address is clear.",
    "FUNCTION aegis_column_hash(TEXT, BYTEA)": "The keyed hash that an encrypted value is found "
    "by, without the id of the key; the key is the one that `aegis security encrypt hash` prints.",
    "FUNCTION aegis_sealed_column()": "Refuse clear text where a column is encrypted, and what "
    "looks encrypted where it is not.",
}

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0028_columns') IS NOT NULL THEN
        INSERT INTO encrypted_columns SELECT * FROM aegis_kept_0028_columns;
        DROP TABLE aegis_kept_0028_columns;
    END IF;
END
$$
"""

REFUSE = """
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM billing_accounts a
        WHERE starts_with(a.name, 'aegis:v1:')
           OR starts_with(a.email, 'aegis:v1:')
           OR starts_with(a.address, 'aegis:v1:')
    ) OR EXISTS (
        SELECT FROM billing_invoices i
        WHERE starts_with(i.customer_name, 'aegis:v1:')
           OR starts_with(i.customer_address, 'aegis:v1:')
    ) OR EXISTS (
        SELECT FROM billing_stripe_outbox o
        WHERE starts_with(o.payload ->> 'name', 'aegis:v1:')
           OR starts_with(o.payload ->> 'email', 'aegis:v1:')
    ) THEN
        RAISE EXCEPTION 'columns are encrypted; run aegis security encrypt disable --all first'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(PUT_BACK)
    op.execute("ALTER TABLE billing_accounts ADD COLUMN email_hash TEXT")
    op.execute("CREATE INDEX idx_billing_accounts_email_hash ON billing_accounts (email_hash)")
    for function in ("aegis_sealed_column", "aegis_column_hash"):
        text = (SQL / f"{revision}_{function}.sql").read_text(encoding="utf-8")
        # What a colon begins would be a parameter.
        op.execute(text.replace(":", "\\:"))
    for table, columns in SEALABLE.items():
        for column, fields in columns.items():
            arguments = ", ".join(f"'{name}'" for name in (column, *fields))
            op.execute(
                f"CREATE TRIGGER tr_{table}_{column}_sealed "
                f"BEFORE INSERT OR UPDATE OF {column} ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION aegis_sealed_column({arguments})"
            )
    for what, comment in COMMENTS.items():
        op.execute(f"COMMENT ON {what} IS '{comment}'")


def downgrade() -> None:
    op.execute(REFUSE)
    op.execute("CREATE TABLE aegis_kept_0028_columns AS TABLE encrypted_columns")
    for table, columns in SEALABLE.items():
        for column in columns:
            op.execute(f"DROP TRIGGER tr_{table}_{column}_sealed ON {table}")
    op.execute("DROP FUNCTION aegis_sealed_column")
    op.execute("DROP FUNCTION aegis_column_hash")
    op.execute("ALTER TABLE billing_accounts DROP COLUMN email_hash")
    op.execute("DROP TABLE encrypted_columns")
