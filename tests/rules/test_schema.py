"""Rules that tie the code to the schema."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts import models as alert_models
from aegis.billing import models as billing_models
from aegis.intel import models as intel_models
from aegis.keys import models as key_models
from aegis.memory import change, models
from aegis.memory.audit import report
from aegis.memory.consolidation import proposal
from aegis.memory.store import registry
from aegis.metrics import models as metric_models
from aegis.ops.backup import models as backups
from aegis.ops.maintenance import models as maintenance
from aegis.research import models as research
from aegis.security.columns import models as column_models
from aegis.sessions import models as sessions
from aegis.worker import models as worker_models
from aegis.workflows import execution as executions
from aegis.workflows import models as workflows

if TYPE_CHECKING:
    from aegis.db import Connection


async def test_every_table_and_column_has_a_comment(conn: Connection) -> None:
    cursor = await conn.execute(
        """
        SELECT c.relname || coalesce('.' || a.attname, '')
        FROM pg_class c
        CROSS JOIN LATERAL (
            SELECT 0 AS attnum, NULL AS attname
            UNION ALL
            SELECT a.attnum, a.attname
            FROM pg_attribute a
            WHERE a.attrelid = c.oid
              AND a.attnum > 0
              AND NOT a.attisdropped
        ) a
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind IN ('r', 'p', 'v', 'm')
          AND c.relname <> 'alembic_version'
          -- A partition means what its table means.
          AND NOT c.relispartition
          -- What an extension brings along is its own.
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
          AND col_description(c.oid, a.attnum) IS NULL
          AND (a.attnum > 0 OR obj_description(c.oid, 'pg_class') IS NULL)
        ORDER BY 1
        """
    )
    assert [row[0] for row in await cursor.fetchall()] == []


async def test_importance_equals_the_enum(conn: Connection) -> None:
    cursor = await conn.execute("SELECT unnest(enum_range(NULL::memory_importance))::text")
    values = tuple(row[0] for row in await cursor.fetchall())
    assert values == models.IMPORTANCE == typing.get_args(models.Importance)


@pytest.mark.parametrize(
    ("table", "column", "literal"),
    [
        ("decision_outcomes", "outcome_status", models.Outcome),
        ("decision_outcomes", "user_feedback", models.Feedback),
        ("fact_history", "action", models.FactAction),
        ("decision_episodes", "role", models.Role),
        ("memory_proposals", "kind", proposal.Kind),
        ("memory_proposals", "method", proposal.Method),
        ("memory_proposals", "state", proposal.State),
        ("memory_quarantine", "action", report.Action),
        ("embedding_models", "state", registry.ModelState),
        ("api_tiers", "name", key_models.TierName),
        ("api_quota_ledger", "kind", key_models.LedgerKind),
        ("api_customer_ledger", "kind", key_models.CustomerLedgerKind),
        ("claude_sessions", "turn", sessions.Turn),
        ("claude_sessions", "source", sessions.Source),
        ("competitor_pages", "state", intel_models.PageState),
        ("competitor_snapshots", "state", intel_models.SnapshotState),
        ("competitor_snapshots", "method", intel_models.Method),
        ("competitor_changes", "importance", intel_models.Importance),
        ("billing_subscriptions", "proration", billing_models.Proration),
        ("billing_accounts", "stripe_mode", billing_models.StripeMode),
        ("billing_invoices", "state", billing_models.InvoiceState),
        ("billing_invoice_lines", "kind", billing_models.LineKind),
        ("billing_stripe_outbox", "kind", billing_models.OutboxKind),
        ("billing_stripe_outbox", "state", billing_models.OutboxState),
        ("research_calls", "cost_source", research.CostSource),
        ("research_prices", "meter", research.Meter),
        ("research_sources", "kind", research.SourceKind),
        ("jobs", "state", worker_models.JobState),
        ("schedules", "missed", worker_models.Missed),
        ("workflow_versions", "status", workflows.DefinitionStatus),
        ("workflow_executions", "reason", executions.Reason),
        ("workflow_steps", "status", executions.StepStatus),
        ("backups", "format", backups.Format),
        ("backups", "verdict", backups.Verdict),
        ("backups", "verified_level", backups.Level),
        ("backup_drills", "verdict", backups.Verdict),
        ("alert_rules", "least_severity", alert_models.Severity),
        ("encrypted_columns", "state", column_models.ColumnState),
        ("encrypted_columns", "state", column_models.ColumnState),
        ("alerts", "state", alert_models.AlertState),
        ("alerts", "severity", alert_models.Severity),
        ("alerts", "condition_state", alert_models.ConditionState),
        ("alert_events", "kind", alert_models.EventKind),
        ("alert_channels", "kind", alert_models.ChannelKind),
        ("alert_channels", "least_severity", alert_models.Severity),
        ("alert_deliveries", "state", alert_models.DeliveryState),
        ("maintenance_runs", "task", maintenance.Task),
        ("maintenance_runs", "state", maintenance.RunState),
        ("metric_rules", "kind", metric_models.RuleKind),
        ("metric_rules", "severity", metric_models.RuleSeverity),
    ],
)
async def test_literal_equals_the_check(
    conn: Connection, table: str, column: str, literal: Any
) -> None:
    cursor = await conn.execute(
        """
        SELECT pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE conrelid = %(table)s::regclass
          AND contype = 'c'
          AND conname = 'ck_' || %(table)s || '_' || %(column)s
        """,
        {"table": table, "column": column},
    )
    row = await cursor.fetchone()
    assert row is not None, f"{table}.{column} has no CHECK"
    for value in typing.get_args(literal):
        assert f"'{value}'" in row[0]
    assert row[0].count("'") == 2 * len(typing.get_args(literal))


@pytest.mark.parametrize(
    ("names", "literal"),
    [
        (models.IMPORTANCE, models.Importance),
        (models.OUTCOMES, models.Outcome),
        (models.FEEDBACK, models.Feedback),
        (models.ROLES, models.Role),
        (models.MODES, models.Mode),
        (models.METRICS, models.Metric),
        (models.ON_CONFLICT, models.OnConflict),
        (models.FACT_ACTIONS, models.FactAction),
        (proposal.KINDS, proposal.Kind),
        (proposal.METHODS, proposal.Method),
        (proposal.STATES, proposal.State),
        (registry.MODEL_STATES, registry.ModelState),
        (change.PHASES, change.Phase),
        (key_models.TIERS, key_models.TierName),
        (key_models.ENVIRONMENTS, key_models.Environment),
        (key_models.CODES, key_models.Code),
        (key_models.LEDGER_KINDS, key_models.LedgerKind),
        (key_models.CUSTOMER_LEDGER_KINDS, key_models.CustomerLedgerKind),
        (sessions.STATUSES, sessions.Status),
        (sessions.TURNS, sessions.Turn),
        (sessions.SOURCES, sessions.Source),
        (intel_models.PAGE_TYPES, intel_models.PageType),
        (intel_models.PAGE_STATES, intel_models.PageState),
        (intel_models.SNAPSHOT_STATES, intel_models.SnapshotState),
        (intel_models.METHODS, intel_models.Method),
        (intel_models.CHANGE_TYPES, intel_models.ChangeType),
        (billing_models.METERS, billing_models.Meter),
        (billing_models.MODELS, billing_models.Model),
        (billing_models.PRORATIONS, billing_models.Proration),
        (billing_models.LINE_KINDS, billing_models.LineKind),
        (billing_models.INVOICE_STATES, billing_models.InvoiceState),
        (billing_models.STRIPE_MODES, billing_models.StripeMode),
        (billing_models.OUTBOX_KINDS, billing_models.OutboxKind),
        (billing_models.OUTBOX_STATES, billing_models.OutboxState),
        (executions.STATUSES, executions.Status),
        (executions.REASONS, executions.Reason),
        (executions.STEP_STATUSES, executions.StepStatus),
        (research.PROVIDERS, research.ProviderName),
        (research.STATUSES, research.Status),
        (research.METERS, research.Meter),
        (research.COST_SOURCES, research.CostSource),
        (worker_models.JOB_STATES, worker_models.JobState),
        (worker_models.MISSED, worker_models.Missed),
        (alert_models.ALERT_STATES, alert_models.AlertState),
        (alert_models.CHANNEL_KINDS, alert_models.ChannelKind),
        (alert_models.CONDITION_STATES, alert_models.ConditionState),
        (alert_models.DELIVERY_STATES, alert_models.DeliveryState),
        (alert_models.EVENT_KINDS, alert_models.EventKind),
        (alert_models.MESSAGE_KINDS, alert_models.MessageKind),
        (alert_models.SEVERITIES, alert_models.Severity),
        (metric_models.ANOMALY_STATUSES, metric_models.AnomalyStatus),
        (metric_models.RULE_KINDS, metric_models.RuleKind),
    ],
)
def test_tuple_of_choices_equals_its_literal(names: tuple[str, ...], literal: Any) -> None:
    assert names == typing.get_args(literal)
