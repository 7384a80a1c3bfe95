"""Who may do what: the one description that `apply` and `check` go by.

Every table and every function of the schema is named here once; a test fails for one that is not.
A partition is what its table is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.security.roles.models import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aegis.security.roles.models import Kind

__all__ = [
    "APP_RIGHTS",
    "CATALOG_VIEWS",
    "DATABASE_RIGHTS",
    "DEFAULTS",
    "FILLED",
    "FUNCTIONS",
    "HIDDEN",
    "MONITORED",
    "ROLES",
    "TABLES",
    "names",
    "unclassified_functions",
    "unclassified_tables",
]

_MINUTE: Final = "60s"

ROLES: Final[dict[Kind, Role]] = {
    "owner": Role(
        purpose="Owns the tables; changes the schema, keeps it in shape, restores.",
        bypass_rls=False,
        connections=20,
        # Maintenance looks at what others do and where the files are; an erasure brings to the
        # disk what it wrote.
        member_of=("pg_checkpoint", "pg_monitor"),
        settings={"idle_in_transaction_session_timeout": "15min"},
    ),
    # COPY FROM is refused to whom rules of rows hold for, and the application copies.
    "app": Role(
        purpose="Serves: reads and writes rows, and owns nothing.",
        connections=80,
        # `aegis up` checks the server, and keeps the history of statements, other roles' too.
        member_of=("pg_read_all_settings", "pg_read_all_stats"),
        settings={"statement_timeout": "5min", "idle_in_transaction_session_timeout": "30min"},
    ),
    # It sees every row; rules of rows would only keep it from indexes of words.
    "readonly": Role(
        purpose="Reads everything but hashes, secrets and who is a tenant.",
        connections=20,
        settings={
            "statement_timeout": _MINUTE,
            "idle_in_transaction_session_timeout": _MINUTE,
        },
    ),
    "monitor": Role(
        purpose="Looks at the server, and at figures about it; reads nobody's rows.",
        bypass_rls=False,
        connections=5,
        member_of=("pg_monitor",),
        settings={"statement_timeout": "30s", "idle_in_transaction_session_timeout": _MINUTE},
    ),
    # With rules of rows in its way, pg_dump would stop; it must see every row or none.
    "backup": Role(
        purpose="Dumps everything, and changes nothing.",
        connections=20,
        member_of=("pg_read_all_data",),
        settings={"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"},
    ),
    "tenant": Role(
        purpose="The group of logins that see one namespace or customer alone.",
        login=False,
        bypass_rls=False,
        settings={
            "statement_timeout": "30s",
            "idle_in_transaction_session_timeout": _MINUTE,
            "default_transaction_read_only": "on",
        },
    ),
}

_WRITE: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
#: What is added to and never changed: triggers refuse it, and so does the right.
_ADD: Final = frozenset({"SELECT", "INSERT"})
_READ: Final = frozenset({"SELECT"})

#: Rights of the application by class of table.
APP_RIGHTS: Final = {
    "rows": _WRITE,
    "ledger": _ADD,
    "secret": _WRITE,
    "schema": _READ,
    # An erasure tells where a subject is named, there too.
    "own": _READ,
}

#: Class of each table. `rows`: the application writes, the reader reads. `ledger`: is only added
#: to. `secret`: the reader does not see it. `schema`: nobody but the owner writes. `own`: the
#: same, and the reader does not see it.
TABLES: Final[dict[str, str]] = {
    name: kind
    for kind, line in {
        "schema": "alembic_version security_roles",
        "own": "security_tenants",
        "secret": "api_key_secrets",
        "ledger": "audit_log audit_seals billing_events billing_plans billing_invoice_lines",
        "rows": """
            alert_channels alert_deliveries alert_events alert_rules alert_silences alerts
            api_customer_ledger api_customer_limits api_customers api_key_limits api_key_meters
            api_key_old_hashes api_keys api_quota_ledger api_tiers api_usage_events audit_head
            audit_verifications backup_drills backups billing_accounts billing_invoice_numbers
            billing_invoices billing_meter_spans billing_periods billing_runs
            billing_stripe_events billing_stripe_outbox billing_subscriptions claude_sessions
            competitor_changes
            competitor_hosts competitor_pages competitor_snapshots competitors container_metrics
            container_metrics_15m container_metrics_1h container_metrics_1m container_metrics_5m
            container_starts decision_episodes decision_outcomes deep_briefing_jobs
            embedding_models encrypted_columns episodic_memory episodic_sketches
            episodic_vectors fact_history
            fact_sources graph_entities graph_merges graph_queue graph_relations graphiti_failures
            health_queries health_relations health_snapshots health_statements infra_anomaly_alerts
            jobs maintenance_runs memory_archives memory_consolidation memory_erasures memory_holds
            memory_namespaces memory_policies memory_proposals memory_quarantine memory_terms
            memory_usage metric_collectors metric_late_hours metric_rollups metric_rules
            metric_watch metric_watch_states model_prices provider_rates research_budgets
            research_calls research_citations research_months research_prices research_sources
            schedules semantic_memory semantic_vectors session_events session_usage store_items
            store_vectors usage_archives usage_daily usage_event_ids usage_hourly workers
            workflow_executions workflow_signals workflow_steps workflow_versions workflows
        """,
    }.items()
    for name in line.split()
}

#: Columns that the reader does not see, of tables that it reads.
HIDDEN: Final[dict[str, frozenset[str]]] = {
    "api_keys": frozenset({"key_hash"}),
    "api_key_old_hashes": frozenset({"key_hash"}),
}

#: Columns of ledgers that are filled in later.
FILLED: Final[dict[str, frozenset[str]]] = {"billing_events": frozenset({"stripe_invoice_id"})}

#: Figures about the server, without anybody's rows: what the monitoring role reads.
MONITORED: Final = frozenset({
    "alembic_version", "audit_head", "audit_log", "audit_seals", "audit_verifications",
    "backup_drills", "backups", "encrypted_columns", "health_queries", "health_relations",
    "health_snapshots", "health_statements", "maintenance_runs",
    # Whether anything lies where no partition was made ahead.
    "container_metrics_default",
    "container_metrics_1m_default",
})  # fmt: skip
#: Views of PostgreSQL's own, and what is behind them: what the monitoring role reads beyond
#: pg_monitor.
CATALOG_VIEWS: Final = (
    "pg_hba_file_rules",
    "pg_hba_file_rules()",
    "pg_file_settings",
    "pg_show_all_file_settings()",
)

#: Who may call a function. `app`: the application. `read`: it, the reader and tenants. `all`:
#: everybody, of themselves. `trigger`: nobody needs to.
FUNCTIONS: Final[dict[str, str]] = {
    "uuid_generate_v4": "app",
    "aegis_drained": "app",
    "aegis_verify_calls": "app",
    "aegis_key_of_hashes": "app",
    "aegis_open_customer_period": "app",
    "aegis_column_hash": "read",
    "aegis_open_period": "app",
    "aegis_usage_partition": "app",
    "aegis_usage_detach": "app",
    "aegis_usage_drop": "app",
    "aegis_metrics_partition": "app",
    "aegis_metrics_drop": "app",
    "aegis_move_relations": "app",
    "aegis_signs": "app",
    "aegis_usage_bucket": "read",
    "aegis_usage_histogram": "read",
    "aegis_add_histograms": "read",
    "aegis_is_tenant": "all",
    "aegis_tenant_namespace": "all",
    "aegis_tenant_customer": "all",
}

DATABASE_RIGHTS: Final[dict[Kind, tuple[str, ...]]] = {
    # The owner creates extensions that need no superuser.
    "owner": ("CONNECT", "CREATE", "TEMPORARY"),
    # Statements are compared in a temporary table.
    "app": ("CONNECT", "TEMPORARY"),
    "readonly": ("CONNECT",),
    "monitor": ("CONNECT",),
    "backup": ("CONNECT",),
    "tenant": ("CONNECT",),
}

#: Of what the owner makes later: partitions, and tables of later revisions. The reader gets
#: nothing by itself: a new table may hold secrets.
DEFAULTS: Final[dict[Kind, dict[str, tuple[str, ...]]]] = {
    "app": {
        "TABLES": ("SELECT", "INSERT", "UPDATE", "DELETE"),
        "SEQUENCES": ("USAGE", "SELECT"),
        "FUNCTIONS": ("EXECUTE",),
    }
}


def names(prefix: str) -> dict[Kind, str]:
    """Return the name of each role on the server."""
    return {kind: f"{prefix}_{kind}" for kind in ROLES}


def unclassified_tables(tables: Iterable[str]) -> list[str]:
    """Return the tables of which nothing is said here, sorted."""
    return sorted({*tables} - {*TABLES})


def unclassified_functions(functions: Iterable[str]) -> list[str]:
    """Return the functions, triggers' own left out, of which nothing is said here, sorted."""
    return sorted({*functions} - {*FUNCTIONS})
