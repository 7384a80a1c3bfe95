"""Roles with the least that each needs, and logins that see one namespace or customer alone.

Two tables say which role of the server is which, and whose rows a tenant may see. The application
owns nothing: partitions are made and dropped by functions that run with the owner's rights and
accept nothing but these tables' own partitions. Rights, and the rules of rows, are given by
`aegis security apply`: roles belong to the server, not to a database and its dumps.

Going back keeps both tables aside; the rules of rows go, and `aegis security apply` makes them
anew.

Locks and cost: new tables alone; functions are replaced.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

TABLES = (
    """
    CREATE TABLE security_roles (
        role_name TEXT NOT NULL,
        kind TEXT NOT NULL,
        noted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT security_roles_pkey PRIMARY KEY (role_name),
        CONSTRAINT ck_security_roles_kind CHECK (
            kind IN ('owner', 'app', 'readonly', 'monitor', 'backup', 'tenant')
        )
    )
    """,
    """
    CREATE TABLE security_tenants (
        role_name TEXT NOT NULL,
        namespace TEXT,
        customer_id TEXT,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT security_tenants_pkey PRIMARY KEY (role_name),
        CONSTRAINT ck_security_tenants_whose CHECK (
            namespace IS NOT NULL OR customer_id IS NOT NULL
        )
    )
    """,
)
KEPT = ("security_roles", "security_tenants")
TABLE_COMMENTS = {
    "security_roles": "Which role of the server is which, as `aegis security apply` made them.",
    "security_tenants": "Logins that see the rows of one namespace or customer, and no others.",
}
COLUMN_COMMENTS = {
    "security_roles": {
        "role_name": "The role on the server.",
        "kind": "owner, app, readonly, monitor, backup, or tenant: the group of all tenants.",
        "noted_at": "When it was written down.",
    },
    "security_tenants": {
        "role_name": "The login on the server; compared with session_user.",
        "namespace": "Whose memories it sees; NULL for none.",
        "customer_id": "Whose usage and bills it sees; NULL for none.",
        "created_at": "When it was made.",
    },
}

FUNCTIONS = {
    "aegis_usage_partition(date)": "Make the partition of a month's events, if there is none yet.",
    "aegis_usage_detach(text)": "Take a month out of the usage events.",
    "aegis_usage_drop(text)": "Drop a month that was taken out of the usage events.",
    "aegis_metrics_partition(text, date)": "Make the partition of a day, with its rows.",
    "aegis_metrics_drop(text)": "Drop the partition of a day.",
    "aegis_is_tenant()": "Whether this connection sees the rows of a tenant alone.",
    "aegis_tenant_namespace()": "The namespace whose rows this connection sees.",
    "aegis_tenant_customer()": "The customer whose rows this connection sees.",
}
#: What anybody may ask, of itself.
ASKED = ("aegis_is_tenant()", "aegis_tenant_namespace()", "aegis_tenant_customer()")

#: With the owner's rights, and names that mean what they meant here, whoever calls.
DEFINER = """
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION {function} SECURITY DEFINER SET search_path TO %I, pg_temp',
        current_schema()
    );
END
$$
"""

RULES_AWAY = """
DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN
        SELECT p.polname, p.polrelid::regclass AS relation
        FROM pg_policy p
        JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = current_schema()::regnamespace
          AND p.polname IN ('aegis_everyone', 'aegis_tenant')
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', rule.polname, rule.relation);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', rule.relation);
    END LOOP;
END
$$
"""

BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0026_{table}') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO {table} SELECT * FROM aegis_kept_0026_{table};
    DROP TABLE aegis_kept_0026_{table};
END
$$
"""


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    op.execute((SQL / "0026_functions.sql").read_text(encoding="utf-8"))
    for function, text in FUNCTIONS.items():
        quoted = text.replace("'", "''")
        op.execute(f"COMMENT ON FUNCTION {function} IS '{quoted}'")
        op.execute(DEFINER.format(function=function))
        if function not in ASKED:
            op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    for table in KEPT:
        op.execute(BACK.format(table=table))
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    op.execute(RULES_AWAY)
    before = (SQL / "0015_aegis_usage_partition.sql").read_text(encoding="utf-8")
    op.execute(before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
    op.execute("ALTER FUNCTION aegis_usage_partition(date) SECURITY INVOKER RESET search_path")
    op.execute("GRANT EXECUTE ON FUNCTION aegis_usage_partition(date) TO PUBLIC")
    for function in FUNCTIONS:
        if function != "aegis_usage_partition(date)":
            op.execute(f"DROP FUNCTION {function}")
    for table in KEPT:
        op.execute(f"CREATE TABLE aegis_kept_0026_{table} AS SELECT * FROM {table}")
        op.execute(f"DROP TABLE {table}")
