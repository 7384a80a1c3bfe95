"""Which tables hold words of memories, and why the others hold none.

Invariant: every table of the schema is named here once; a test fails for one that is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CLEARED", "MEMORY_TABLES", "OUTSIDE", "OWNERS", "WORDLESS", "unclassified"]

#: What holds words of memories, in the order of deletion, and the column that tells rows.
MEMORY_TABLES: dict[str, LiteralString] = {
    "decision_outcomes": "id",
    "fact_history": "fact_id",
    "fact_sources": "id",
    "semantic_memory": "id",
    "memory_holds": "episode_id",
    "memory_proposals": "id",
    "memory_quarantine": "id",
    "graphiti_failures": "episode_id",
    # Before the items: a text that is still to be embedded need not be in the item's value.
    "store_vectors": "item_id",
    "store_items": "id",
    "episodic_memory": "id",
    # After what they say: most of the graph goes with its memories.
    "graph_relations": "id",
    "graph_merges": "id",
    "graph_entities": "id",
    "memory_consolidation": "namespace",
    # What was asked and done: events go, of a session its numbers stay.
    "session_events": "id",
    "claude_sessions": "id",
}

#: Tables without a namespace of their own: whose it is, and the column that says which row.
OWNERS: dict[str, tuple[LiteralString, LiteralString]] = {
    "memory_holds": ("episodic_memory", "episode_id"),
    "graphiti_failures": ("episodic_memory", "episode_id"),
    "store_vectors": ("store_items", "item_id"),
    "session_events": ("claude_sessions", "session_id"),
}

#: What is cleared of the subject's words in a way of its own, after the rows.
CLEARED: dict[str, str] = {
    "memory_terms": "Single words: those of the names, and of namespaces that lost rows, go.",
    "memory_namespaces": "Word statistics of namespaces that lost rows; they are counted anew.",
    "memory_policies": "Named by namespace and type; a policy that names the subject goes.",
    "embedding_models": "The last error may quote a text; it is blanked.",
}

#: What holds numbers, vectors and fixed words alone, and goes with the rows that it is about.
WORDLESS: dict[str, str] = {
    "decision_episodes": "Ids and a role; goes with the decision or the episode.",
    "episodic_vectors": "Vectors of a second model; go with the episode, by a foreign key.",
    "episodic_sketches": "Signs of its vector; go with the episode, by a foreign key.",
    "semantic_vectors": "Vectors of a second model; go with the fact, by a foreign key.",
    "graph_queue": "Ids of what is to be read; deleted with the episode or fact.",
    "memory_usage": "How often an episode was recalled; goes with it.",
    "memory_archives": "Ids and paths; the files themselves are searched and rewritten.",
    "session_usage": "Tokens of a session's messages; go with the session, by a foreign key.",
    "memory_erasures": "The proofs: keyed digests, and nothing that names anybody.",
}

_KEYS = "Belongs to the keys of the API, a contract with its holder that no memory goes into."
_BILLS = "Bills and what they rest on, which the law wants kept."
_CALLS = "What calls of the API came to: ids, endpoints and numbers; bills rest on them."
_FIGURES = "Figures of containers and when they were rolled up; no memory goes into them."
_UPKEEP = "The server's own counters, statements without their values, what maintenance did."
_WORK = "What workflows were given and did; told of, not deleted: delete the execution's row."
_RESEARCH = "What research was asked and found; told of, not deleted: delete the job."
_JOBS = (
    "Calls of functions, which somebody waits for; told of, not deleted. History goes by itself."
)
_WATCHED = "What websites of others say; told of, not deleted: delete the page that says it."
_BACKUPS = "Names, sizes and verdicts of backups; no row of the database is in it."
_AUDIT = "Who changed what: ids and keyed digests, no contents; without a row the chain breaks."
_KEPT_SHUT = "Which columns are encrypted and by which key's id; no row of them is in it."
_ALERTS = "What containers, servers and backups did; no memory goes into them."
_ACCESS = "Names of logins and whose rows they see; `aegis security tenant remove` takes one away."
_OTHERS = "Written by other programs, which have to erase it themselves; told of, not deleted."

#: What is no memory: an erasure tells how many rows speak of the subject, and leaves them.
OUTSIDE: dict[str, str] = {
    "alert_channels": _ALERTS,
    "alert_deliveries": _ALERTS,
    "alert_events": _ALERTS,
    "alert_rules": _ALERTS,
    "alert_silences": _ALERTS,
    "alerts": _ALERTS,
    "api_customer_ledger": _KEYS,
    "api_customer_limits": _KEYS,
    "api_customers": _KEYS,
    "api_key_limits": _KEYS,
    "api_key_meters": _KEYS,
    "api_key_old_hashes": _KEYS,
    "api_key_secrets": _KEYS,
    "api_keys": _KEYS,
    "api_quota_ledger": _KEYS,
    "api_tiers": _KEYS,
    "api_usage_events": _CALLS,
    "audit_head": _AUDIT,
    "audit_log": _AUDIT,
    "audit_seals": _AUDIT,
    "audit_verifications": _AUDIT,
    "backup_drills": _BACKUPS,
    "backups": _BACKUPS,
    "billing_accounts": _BILLS,
    "billing_events": _BILLS,
    "billing_invoice_lines": _BILLS,
    "billing_invoice_numbers": _BILLS,
    "billing_invoices": _BILLS,
    "billing_meter_spans": _BILLS,
    "billing_periods": _BILLS,
    "billing_plans": _BILLS,
    "billing_runs": _BILLS,
    "billing_stripe_events": _BILLS,
    "billing_stripe_outbox": _BILLS,
    "billing_subscriptions": _BILLS,
    "competitor_changes": _WATCHED,
    "competitor_hosts": _WATCHED,
    "competitor_pages": _WATCHED,
    "competitor_snapshots": _WATCHED,
    "competitors": _WATCHED,
    "container_metrics": _FIGURES,
    "container_metrics_15m": _FIGURES,
    "container_metrics_1h": _FIGURES,
    "container_metrics_1m": _FIGURES,
    "container_metrics_5m": _FIGURES,
    "container_starts": _FIGURES,
    "deep_briefing_jobs": _RESEARCH,
    "encrypted_columns": _KEPT_SHUT,
    "health_queries": _UPKEEP,
    "health_relations": _UPKEEP,
    "health_snapshots": _UPKEEP,
    "health_statements": _UPKEEP,
    "infra_anomaly_alerts": _OTHERS,
    "jobs": _JOBS,
    "maintenance_runs": _UPKEEP,
    "metric_collectors": _FIGURES,
    "metric_late_hours": _FIGURES,
    "metric_rollups": _FIGURES,
    "metric_rules": _FIGURES,
    "metric_watch": _FIGURES,
    "metric_watch_states": _FIGURES,
    "model_prices": "Prices of language models.",
    "provider_rates": "How often providers may be asked.",
    "research_budgets": "Limits of what research may cost, by namespace.",
    "research_calls": _RESEARCH,
    "research_citations": _RESEARCH,
    "research_months": "What research cost, by namespace and month.",
    "research_prices": "Prices of providers of research.",
    "research_sources": _RESEARCH,
    "schedules": _JOBS,
    "security_roles": _ACCESS,
    "security_tenants": _ACCESS,
    "usage_archives": _CALLS,
    "usage_daily": _CALLS,
    "usage_event_ids": _CALLS,
    "usage_hourly": _CALLS,
    "workflow_executions": _WORK,
    "workflow_signals": _WORK,
    "workflow_steps": _WORK,
    "workflow_versions": _WORK,
    "workers": "Processes that run work.",
    "workflows": _WORK,
}


def unclassified(tables: Iterable[str]) -> list[str]:
    """Return the tables of which nothing is said here, or more than one thing, sorted."""
    said = [*MEMORY_TABLES, *CLEARED, *WORDLESS, *OUTSIDE]
    return sorted(table for table in tables if said.count(table) != 1)
