"""Revision 0016: forwards, back, and forwards again, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.servers("18", "16")

TABLES = (
    "billing_plans", "billing_accounts", "billing_subscriptions", "billing_runs",
    "billing_periods", "billing_invoices", "billing_invoice_lines", "billing_invoice_numbers",
    "billing_stripe_outbox", "billing_stripe_events", "billing_events",
)  # fmt: skip

ROWS = (
    "INSERT INTO billing_events (customer_id, event_type, amount_usd, metadata) "
    "VALUES ('foreign', 'overage', 1.50, '{}')",
    "INSERT INTO billing_plans (name, version, valid_from, terms) "
    "VALUES ('basic', 1, '2026-06-01', '{\"flat_usd\": \"5.00\"}')",
    "INSERT INTO billing_accounts (customer_id, name) VALUES ('c', 'C')",
    "INSERT INTO billing_subscriptions (customer_id, plan, starts_on, proration) "
    "VALUES ('c', 'basic', '2026-06-01', 'daily')",
    "INSERT INTO billing_runs (period) VALUES ('2026-06-01')",
    "INSERT INTO billing_periods (customer_id, period, run_period, segments) "
    "VALUES ('c', '2026-06-01', '2026-06-01', '[]')",
    "INSERT INTO billing_events (customer_id, event_type, amount_usd, period, line, quantity,"
    " entry_key) VALUES ('c', 'api_usage', 5, '2026-06-01', '0:c', 7.5, 'a')",
    "INSERT INTO billing_invoices (customer_id, period, number, state, total_usd) "
    "VALUES ('c', '2026-06-01', '2026-000001', 'final', 5)",
    "INSERT INTO billing_invoice_lines (invoice_id, position, event_id, kind, description,"
    " amount_usd) SELECT i.id, 1, e.id, 'api_usage', 'd', 5 FROM billing_invoices i,"
    " billing_events e WHERE e.entry_key = 'a'",
    "INSERT INTO billing_invoice_numbers (year, last) VALUES (2026, 1)",
    "INSERT INTO billing_stripe_outbox (kind, customer_id, subject, payload, idempotency_key) "
    "VALUES ('customer', 'c', 'customer:c', '{}', 'k')",
    "INSERT INTO billing_stripe_events (event_id, event_type, happened_at, outcome) "
    "VALUES ('evt_1', 'invoice.paid', '2026-06-01 00:00:00+00', 'ignored')",
)


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def contents(dsn: str) -> dict[str, Sequence[Any]]:
    with psycopg.connect(dsn) as conn:
        return {
            table: conn.execute(f"SELECT t::text FROM {table} t ORDER BY 1".encode()).fetchall()
            for table in TABLES
        }


def test_going_back_and_forth_keeps_every_row(dsn: str) -> None:
    run(dsn, *ROWS)
    before = contents(dsn)
    assert all(before.values())
    migrate.downgrade(dsn, "0015")
    # At the older revision rows may be changed as anybody likes, and added.
    run(
        dsn,
        "UPDATE billing_events SET description = 'x' WHERE FALSE",
        "INSERT INTO billing_events (customer_id, event_type, amount_usd) "
        "VALUES ('n', 'credit', 1)",
        "DELETE FROM billing_events WHERE customer_id = 'n'",
    )
    migrate.upgrade(dsn)
    assert contents(dsn) == before
    with psycopg.connect(dsn) as conn:
        kept = "SELECT count(*) FROM pg_class WHERE relname LIKE 'aegis_kept_0016%'"
        assert conn.execute(kept.encode()).fetchone() == (0,)
    # Numbers go on where they were, and rows are guarded again.
    run(
        dsn,
        "INSERT INTO billing_plans (name, version, valid_from, terms) "
        "VALUES ('basic', 2, '2026-07-01', '{}')",
    )
    with pytest.raises(psycopg.errors.RestrictViolation, match="only added"):
        run(dsn, "UPDATE billing_events SET amount_usd = 0")


def test_line_of_an_entry_that_is_gone_does_not_come_back(dsn: str) -> None:
    run(dsn, *ROWS)
    migrate.downgrade(dsn, "0015")
    run(dsn, "DELETE FROM billing_events WHERE customer_id = 'c'")
    migrate.upgrade(dsn)
    after = contents(dsn)
    assert (len(after["billing_invoices"]), len(after["billing_invoice_lines"])) == (1, 0)
