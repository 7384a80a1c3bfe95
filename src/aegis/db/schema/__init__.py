"""The schema at the newest revision as SQLAlchemy metadata, for migrations only.

It exists to be compared: with a database by `aegis db check`, with the models by
`aegis db revision --autogenerate`. No query imports it. Defaults and index expressions are written
as PostgreSQL prints them. What a table or column means stands in its COMMENT, in the migrations,
and nowhere twice.

One module a group of tables; each adds its tables to the one `metadata`.
"""

from aegis.db.schema import (
    alerts,
    audit,
    backups,
    billing,
    business,
    graph,
    health,
    infra,
    intel,
    items,
    jobs,
    keys,
    memory,
    metrics,
    models,
    research,
    retention,
    security,
    sessions,
    upkeep,
    usage,
    work,
)
from aegis.db.schema.types import metadata

__all__ = [
    "alerts",
    "audit",
    "backups",
    "billing",
    "business",
    "graph",
    "health",
    "infra",
    "intel",
    "items",
    "jobs",
    "keys",
    "memory",
    "metadata",
    "metrics",
    "models",
    "research",
    "retention",
    "security",
    "sessions",
    "upkeep",
    "usage",
    "work",
]
