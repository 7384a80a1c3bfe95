"""Whose rows are whose: what a tenant sees of each table, and why it sees nothing of the others.

Every table is named here once; a test fails for one that is not, and for one with a namespace or a
customer that is among those without a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BY_CUSTOMER",
    "BY_NAMESPACE",
    "CLOSED",
    "THROUGH",
    "UNSEEN",
    "condition_of",
    "open_tables",
    "unclassified",
]

#: Seen by the namespace that the login is of.
BY_NAMESPACE: Final = frozenset({
    "claude_sessions", "decision_outcomes", "deep_briefing_jobs", "episodic_memory",
    "fact_history", "fact_sources", "graph_entities", "graph_relations", "memory_policies",
    "memory_proposals", "research_budgets", "research_months", "semantic_memory", "store_items",
    "workflow_executions",
})  # fmt: skip

#: Seen by the customer.
BY_CUSTOMER: Final = frozenset({
    "api_customer_ledger", "api_customer_limits", "api_customers", "api_keys", "api_usage_events",
    "billing_accounts", "billing_events", "billing_invoices",
    "billing_periods", "billing_subscriptions", "usage_daily", "usage_hourly",
})  # fmt: skip

#: Seen with the row that they belong to: the table, its key, and the column that names it.
THROUGH: Final[dict[str, tuple[str, str, str]]] = {
    "decision_episodes": ("decision_outcomes", "id", "decision_id"),
    "memory_usage": ("episodic_memory", "id", "episode_id"),
    "session_events": ("claude_sessions", "id", "session_id"),
    "session_usage": ("claude_sessions", "id", "session_id"),
    "store_vectors": ("store_items", "id", "item_id"),
    "research_citations": ("deep_briefing_jobs", "id", "job_id"),
    "research_sources": ("deep_briefing_jobs", "id", "job_id"),
    "workflow_steps": ("workflow_executions", "id", "execution_id"),
    "api_key_meters": ("api_keys", "id", "api_key_id"),
    "api_quota_ledger": ("api_keys", "id", "api_key_id"),
    "billing_invoice_lines": ("billing_invoices", "id", "invoice_id"),
}

#: Columns of these that no tenant sees.
UNSEEN: Final[dict[str, frozenset[str]]] = {
    "api_keys": frozenset({"key_hash"}),
    "billing_accounts": frozenset({"stripe_mode", "stripe_customer_id", "stripe_linked_at"}),
    "deep_briefing_jobs": frozenset({"remote_id", "checkpoint", "lease_owner", "token"}),
    "workflow_executions": frozenset({"lease_owner", "token"}),
}

_OPERATOR: Final = "The operator's own: of the server, not of a namespace or customer."
_INNER: Final = "How Aegis does its work; nothing in it is for a tenant."
_EVERYONE: Final = "Of all namespaces together; it has no column that says whose."

#: Not granted to tenants, and why.
CLOSED: Final[dict[str, str]] = {
    name: reason
    for reason, line in {
        _OPERATOR: """
            alembic_version alert_channels alert_deliveries alert_events alert_rules alert_silences
            alerts api_tiers audit_head audit_log audit_seals audit_verifications backup_drills
            backups billing_plans billing_runs container_metrics
            container_metrics_15m container_metrics_1h container_metrics_1m container_metrics_5m
            container_starts health_queries
            health_relations health_snapshots health_statements infra_anomaly_alerts
            maintenance_runs metric_rules model_prices research_prices schedules security_roles
            usage_archives workers
        """,
        _INNER: """
            embedding_models encrypted_columns episodic_sketches episodic_vectors graph_queue
            graphiti_failures
            metric_collectors metric_late_hours
            metric_rollups metric_watch metric_watch_states provider_rates research_calls
            semantic_vectors memory_terms memory_namespaces memory_consolidation api_key_limits
            billing_invoice_numbers usage_event_ids
        """,
        _EVERYONE: """
            competitor_changes competitor_hosts competitor_pages competitor_snapshots competitors
            jobs workflow_signals workflow_versions workflows
        """,
        "Who is a tenant, and of whom, is nobody's business.": "security_tenants",
        "Hashes of keys, and what makes them.": "api_key_old_hashes api_key_secrets",
        "What was deleted or set aside; the operator decides about it.": """
            graph_merges memory_archives memory_erasures memory_holds memory_quarantine
        """,
        "What Stripe is told and tells; it holds the operator's ids there.": """
            billing_meter_spans billing_stripe_events billing_stripe_outbox
        """,
    }.items()
    for name in line.split()
}


def open_tables() -> frozenset[str]:
    """Return the tables of which tenants see rows."""
    return BY_NAMESPACE | BY_CUSTOMER | frozenset(THROUGH)


def condition_of(table: str, schema: str) -> str:
    """Return which rows of an open table a connection sees, as SQL.

    Every function is in a subquery of its own: it is asked once a statement, not once a row.
    """
    place = schema.replace('"', '""')
    here = f'"{place}"'
    free = f"(SELECT NOT {here}.aegis_is_tenant())"
    if table in BY_NAMESPACE:
        return f"{free} OR namespace = (SELECT {here}.aegis_tenant_namespace())"
    if table in BY_CUSTOMER:
        return f"{free} OR customer_id = (SELECT {here}.aegis_tenant_customer())"
    above, key, column = THROUGH[table]
    # Rules of the table above hold in here, too: it shows the tenant's rows alone.
    return f"{free} OR {column} IN (SELECT a.{key} FROM {here}.{above} a)"


def unclassified(tables: Iterable[str]) -> list[str]:
    """Return the tables of which nothing is said here, or more than one thing, sorted."""
    said = [*BY_NAMESPACE, *BY_CUSTOMER, *THROUGH, *CLOSED]
    return sorted(table for table in tables if said.count(table) != 1)
