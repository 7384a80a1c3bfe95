"""Billing: plans, subscriptions, invoices, and what Stripe has to be told.

`billing_events` gets the month, the line, the quantity and the key of an entry. A trigger holds
that its rows, those of plans and of invoice lines are only ever added. Rows that other programs
write carry none of the new columns, and are on no invoice.

Going back loses nothing: the tables are set aside as `aegis_kept_0016_…` and put back by the next
upgrade, except lines of entries that are gone by then.

Locks and cost: ACCESS EXCLUSIVE on `billing_events` until the revision commits. The added columns
need no rewrite; its indexes read the table once.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

#: The columns that may change of tables whose rows are only added.
GUARDS = {
    "billing_events": ("stripe_invoice_id",),
    "billing_plans": (),
    "billing_invoice_lines": (),
    "billing_invoices": (
        *("number", "state", "customer_name", "customer_address", "due_on", "finalized_at"),
        *("sent_at", "paid_at", "voided_at", "stripe_invoice_id", "stripe_status"),
        "stripe_event_at",
    ),
}

TABLES = (
    "billing_plans",
    "billing_accounts",
    "billing_subscriptions",
    "billing_runs",
    "billing_periods",
    "billing_invoices",
    "billing_invoice_lines",
    "billing_invoice_numbers",
    "billing_stripe_outbox",
    "billing_stripe_events",
)
SERIALS = (
    "billing_plans",
    "billing_subscriptions",
    "billing_invoices",
    "billing_stripe_outbox",
)

TABLE_COMMENTS = {
    "billing_plans": "Price plans; a row is one version, which never changes.",
    "billing_accounts": (
        "Customers as their invoices name them. The row is locked while their money changes."
    ),
    "billing_subscriptions": "Which plan a customer is on; days of a customer never overlap.",
    "billing_runs": "Months whose run was begun, and when it had come to its end.",
    "billing_periods": "Months of customers that were priced, with the terms that they keep.",
    "billing_invoices": "Invoices. What they add up to never changes; a wrong one is made void.",
    "billing_invoice_lines": (
        "Lines of invoices: entries of billing_events, or a part of a credit."
    ),
    "billing_invoice_numbers": "The last invoice number of each year: numbers have no gaps.",
    "billing_stripe_outbox": "What Stripe has to be told, and was; a row is one call.",
    "billing_stripe_events": "Events that Stripe sent: each counts once.",
}
COLUMN_COMMENTS = {
    "billing_events": {
        "period": "First day of the month that it is for; NULL for what other programs wrote.",
        "line": "Line of the plan; what was billed of a month is compared by it.",
        "quantity": "Units that it charges for; NULL where nothing is counted.",
        "entry_key": "What makes it one: the same key is not added again for the customer.",
    },
    "billing_plans": {
        "id": "Number of the version among all.",
        "name": "Name of the plan.",
        "version": "Number of the version, from 1.",
        "valid_from": "First day on which a month may begin with it.",
        "terms": "Subscription, minimum and charges: docs/howto/bill-customers.md.",
        "created_at": "When it was added.",
    },
    "billing_accounts": {
        "customer_id": "The customer.",
        "name": "Name on invoices; NULL for the id.",
        "email": "Where Stripe sends invoices.",
        "address": "Address on invoices.",
        "stripe_mode": "How Stripe bills: none, our invoices, or its own meters.",
        "stripe_customer_id": "The customer at Stripe.",
        "stripe_linked_at": "Since when Stripe is told.",
        "created_at": "When it was made.",
    },
    "billing_subscriptions": {
        "id": "Number of the subscription.",
        "customer_id": "The customer.",
        "plan": "Name of the plan, or of a tier of keys.",
        "starts_on": "First day.",
        "ends_on": "First day without it; NULL for no end.",
        "proration": "What a partial month costs: daily, full or none.",
        "created_at": "When it was made.",
    },
    "billing_runs": {
        "period": "First day of the month.",
        "started_at": "When it was first begun.",
        "finished_at": "When it had first come to its end; NULL if it was cut off.",
    },
    "billing_periods": {
        "customer_id": "The customer.",
        "period": "First day of the month.",
        "run_period": "Month whose run priced it first.",
        "segments": "Days, plans and terms: late usage is priced as the rest was.",
        "created_at": "When it was priced first.",
    },
    "billing_invoices": {
        "id": "Number of the row.",
        "customer_id": "The customer.",
        "period": "First day of the month whose run made it.",
        "number": "Number on the invoice, without gaps a year; NULL for a draft.",
        "state": "draft, final, sent, paid or void.",
        "currency": "Currency of all amounts.",
        "total_usd": "What its lines add up to.",
        "customer_name": "Name of the customer when it became final.",
        "customer_address": "Address of the customer when it became final.",
        "due_on": "When it is to be paid.",
        "created_at": "When it was made.",
        "finalized_at": "When it got its number.",
        "sent_at": "When it was sent.",
        "paid_at": "When it was paid.",
        "voided_at": "When it was taken back.",
        "stripe_invoice_id": "The invoice at Stripe.",
        "stripe_status": "What Stripe said last of it.",
        "stripe_event_at": "When that had happened at Stripe.",
    },
    "billing_invoice_lines": {
        "invoice_id": "The invoice.",
        "position": "Place on it, from 1.",
        "event_id": "The entry that it charges or credits.",
        "kind": "Kind of the entry.",
        "description": "What the customer reads.",
        "quantity": "Units.",
        "amount_usd": "Amount; of a credit, the part that this invoice takes.",
    },
    "billing_invoice_numbers": {
        "year": "The year.",
        "last": "The last number given.",
    },
    "billing_stripe_outbox": {
        "id": "Number of the row; calls of a customer are made in this order.",
        "kind": "customer, invoice, invoice_item, finalize or meter_event.",
        "customer_id": "The customer.",
        "invoice_id": "The invoice.",
        "subject": "What it is about; unique, so that it is told once.",
        "payload": "What the call says; ids that Stripe gives are added when it is made.",
        "meter": "Meter of a meter event.",
        "day": "Day of a meter event.",
        "quantity": "Units of a meter event.",
        "idempotency_key": "Key of the call, stored before it is made.",
        "generation": "Counted up when Stripe repeats a failure of its own for the key.",
        "state": "pending, sent or failed.",
        "attempts": "How often it was tried.",
        "next_at": "Not before; also the end of the lease of a process that is trying.",
        "first_attempt_at": "When the key was first used.",
        "last_error": "What went wrong last.",
        "stripe_id": "Id of what Stripe made.",
        "created_at": "When it was added.",
        "sent_at": "When Stripe had accepted it.",
    },
    "billing_stripe_events": {
        "event_id": "Id at Stripe.",
        "event_type": "Such as invoice.paid.",
        "object_id": "Id of what it is about.",
        "invoice_id": "Our invoice that it is about.",
        "happened_at": "When it happened at Stripe.",
        "outcome": "applied, stale (something later was known) or ignored.",
        "received_at": "When it came.",
    },
}

SET_ASIDE_EVENTS = """
CREATE TABLE aegis_kept_0016_events AS
SELECT e.id, e.period, e.line, e.quantity, e.entry_key
FROM billing_events e
WHERE num_nonnulls(e.period, e.line, e.quantity, e.entry_key) > 0
"""

PUT_BACK_EVENTS = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0016_events') IS NOT NULL THEN
        UPDATE billing_events e
        SET period = k.period, line = k.line, quantity = k.quantity, entry_key = k.entry_key
        FROM aegis_kept_0016_events k
        WHERE k.id = e.id;
        DROP TABLE aegis_kept_0016_events;
    END IF;
END
$$
"""


def upgrade() -> None:
    tables = (SQL / f"{revision}_billing_tables.sql").read_text(encoding="utf-8").split("\n;\n")
    for statement in (*tables[:-1], PUT_BACK_EVENTS, *(_put_back(table) for table in TABLES)):
        op.execute(statement)
    for table in SERIALS:
        op.execute(
            f"SELECT setval('{table}_id_seq', greatest((SELECT max(id) FROM {table}), 1), "
            f"EXISTS (SELECT FROM {table}))"
        )
    op.execute((SQL / f"{revision}_aegis_only_added.sql").read_text(encoding="utf-8"))
    for table, columns in GUARDS.items():
        arguments = ", ".join(f"'{column}'" for column in columns)
        op.execute(
            f"CREATE TRIGGER tr_{table}_only_added BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION aegis_only_added({arguments})"
        )
        op.execute(
            f"CREATE TRIGGER tr_{table}_kept BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION aegis_only_added()"
        )
    _comment(
        "FUNCTION aegis_only_added()",
        "Refuse to change a row but for the columns that are named, and to take one away.",
    )
    for table, comment in TABLE_COMMENTS.items():
        _comment(f"TABLE {table}", comment)
    for table, columns in COLUMN_COMMENTS.items():
        for column, comment in columns.items():
            _comment(f"COLUMN {table}.{column}", comment)


def downgrade() -> None:
    op.execute(SET_ASIDE_EVENTS)
    for table in TABLES:
        op.execute(f"CREATE TABLE {_kept(table)} AS TABLE {table}")
    for table in GUARDS:
        op.execute(f"DROP TRIGGER tr_{table}_only_added ON {table}")
        op.execute(f"DROP TRIGGER tr_{table}_kept ON {table}")
    op.execute("DROP FUNCTION aegis_only_added")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX idx_billing_events_customer")
    op.execute("DROP INDEX uq_billing_events_entry_key")
    op.execute(
        "ALTER TABLE billing_events DROP COLUMN period, DROP COLUMN line, DROP COLUMN quantity, "
        "DROP COLUMN entry_key"
    )


def _kept(table: str) -> str:
    return f"aegis_kept_0016_{table.removeprefix('billing_')}"


def _put_back(table: str) -> str:
    kept = _kept(table)
    there = ""
    if table == "billing_invoice_lines":
        there = " k WHERE EXISTS (SELECT FROM billing_events e WHERE e.id = k.event_id)"
    return f"""
    DO $$
    BEGIN
        IF to_regclass('{kept}') IS NOT NULL THEN
            INSERT INTO {table} SELECT * FROM {kept}{there};
            DROP TABLE {kept};
        END IF;
    END
    $$
    """


def _comment(place: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {place} IS '{quoted}'")
