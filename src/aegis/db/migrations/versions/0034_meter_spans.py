"""Days that Stripe prices by its own meters, so that none is priced twice; usage it does not count.

The runs of months priced every day of a customer, whoever else did. Customers who are billed by
Stripe's meters get a span from the day on which they were linked; months that a run has priced
already keep the terms they were priced with.

An event of Stripe's may wait until what it is about has been fetched.

Going back loses nothing: the table is set aside as `aegis_kept_0035_meter_spans`, and put back by
the next upgrade.

Locks and cost: ACCESS EXCLUSIVE on `billing_stripe_events` while its check is made anew, which
reads the table once.
"""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE billing_meter_spans (
        customer_id VARCHAR(100) NOT NULL,
        begins_on DATE NOT NULL,
        ends_on DATE,
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT billing_meter_spans_pkey PRIMARY KEY (customer_id, begins_on),
        CONSTRAINT billing_meter_spans_customer_id_fkey
            FOREIGN KEY (customer_id) REFERENCES billing_accounts (customer_id),
        CONSTRAINT ck_billing_meter_spans_days CHECK (ends_on > begins_on)
    )
    """,
    """
    COMMENT ON TABLE billing_meter_spans IS
        'Days of customers that Stripe prices by its meters; runs of months leave them alone.'
    """,
    "COMMENT ON COLUMN billing_meter_spans.customer_id IS 'The customer.'",
    "COMMENT ON COLUMN billing_meter_spans.begins_on IS 'First day, in UTC.'",
    """
    COMMENT ON COLUMN billing_meter_spans.ends_on IS
        'First day that is no longer of it; NULL for no end.'
    """,
    "COMMENT ON COLUMN billing_meter_spans.created_at IS 'When it was begun.'",
    """
    DO $$
    BEGIN
        IF to_regclass('aegis_kept_0035_meter_spans') IS NOT NULL THEN
            INSERT INTO billing_meter_spans SELECT * FROM aegis_kept_0035_meter_spans;
            DROP TABLE aegis_kept_0035_meter_spans;
        END IF;
    END
    $$
    """,
    # Linked before there were spans, or while an older program was in use.
    """
    INSERT INTO billing_meter_spans (customer_id, begins_on)
    SELECT
        a.customer_id,
        (coalesce(a.stripe_linked_at, a.created_at) AT TIME ZONE 'UTC')::date
    FROM billing_accounts a
    WHERE a.stripe_mode = 'meters'
      AND NOT EXISTS (
          SELECT FROM billing_meter_spans s
          WHERE s.customer_id = a.customer_id
            AND s.ends_on IS NULL
      )
    ON CONFLICT DO NOTHING
    """,
    """
    ALTER TABLE billing_stripe_events
        DROP CONSTRAINT ck_billing_stripe_events_outcome,
        ADD CONSTRAINT ck_billing_stripe_events_outcome
            CHECK (outcome IN ('applied', 'stale', 'ignored', 'waiting'))
    """,
    """
    COMMENT ON COLUMN billing_stripe_events.outcome IS
        'applied, stale (something later was known), ignored, or waiting to be fetched.'
    """,
    # A round asks every minute.
    """
    CREATE INDEX idx_billing_stripe_events_waiting ON billing_stripe_events (received_at)
        WHERE outcome = 'waiting'
    """,
)

DOWN = (
    "CREATE TABLE aegis_kept_0035_meter_spans AS TABLE billing_meter_spans",
    "DROP TABLE billing_meter_spans",
    "DROP INDEX idx_billing_stripe_events_waiting",
    # Told again, it would be a repeated one: what waited is lost to the older program anyway.
    "UPDATE billing_stripe_events SET outcome = 'ignored' WHERE outcome = 'waiting'",
    """
    ALTER TABLE billing_stripe_events
        DROP CONSTRAINT ck_billing_stripe_events_outcome,
        ADD CONSTRAINT ck_billing_stripe_events_outcome
            CHECK (outcome IN ('applied', 'stale', 'ignored'))
    """,
    """
    COMMENT ON COLUMN billing_stripe_events.outcome IS
        'applied, stale (something later was known) or ignored.'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
