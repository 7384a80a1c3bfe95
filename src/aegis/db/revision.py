"""Which revision a database has, told without Alembic or SQLAlchemy: two short queries.

`alembic_version` is a common table: another project may have left its own there. Ours carries a
comment that begins with `VERSION_TABLE_COMMENT`, which travels with dumps; without it a value is
foreign, even when it looks like one of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db.database import Connection

__all__ = [
    "HEAD",
    "TABLES",
    "VERSION_TABLE_COMMENT",
    "SchemaState",
    "SchemaStatus",
    "classify",
    "require_current",
    "schema_state",
]

#: The newest revision of this code; a test ties it to the files in `migrations/versions`.
HEAD: Final = "0040"

VERSION_TABLE_COMMENT: Final = "Revision of the Aegis schema"

#: The tables of the first revision; one of them present means that a database is not empty.
TABLES: Final = (
    "episodic_memory",
    "semantic_memory",
    "decision_outcomes",
    "api_keys",
    "api_usage_events",
    "billing_events",
    "claude_sessions",
    "container_metrics",
    "infra_anomaly_alerts",
    "workflows",
    "workflow_executions",
    "deep_briefing_jobs",
    "competitors",
    "competitor_pages",
    "competitor_changes",
)

#: `empty`: none of our tables. `unversioned`: some, but no revision. `foreign`: a revision that
#: another project wrote. `behind` and `ahead`: ours, older or newer than this code.
SchemaState = Literal["empty", "current", "behind", "ahead", "foreign", "unversioned"]

STATUS_SQL: Final = """
SELECT to_regclass('alembic_version') IS NOT NULL AS has_version_table,
       coalesce(obj_description(to_regclass('alembic_version'), 'pg_class'), '') AS comment,
       (
           SELECT count(*)
           FROM unnest(%(tables)s::text[]) AS t (name)
           WHERE to_regclass(quote_ident(t.name)) IS NOT NULL
       ) AS tables
"""
VERSIONS_SQL: Final = "SELECT version_num FROM alembic_version ORDER BY version_num"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """What a database says about its schema."""

    state: SchemaState
    #: What `alembic_version` holds, whoever wrote it; None without a row.
    revision: str | None
    #: How many of the first revision's tables are there.
    tables: int


def classify(
    *, has_version_table: bool, comment: str, tables: int, versions: Sequence[str]
) -> SchemaStatus:
    """Return the status that these findings mean."""
    revision = ",".join(versions) or None
    state: SchemaState
    if not has_version_table or revision is None:
        state = "unversioned" if tables else "empty"
    elif not comment.startswith(VERSION_TABLE_COMMENT) or not re.fullmatch(r"\d{4}", revision):
        state = "foreign"
    elif revision == HEAD:
        state = "current"
    else:
        state = "behind" if revision < HEAD else "ahead"
    return SchemaStatus(state=state, revision=revision, tables=tables)


async def schema_state(conn: Connection) -> SchemaStatus:
    """Return the schema's status; the connection's transaction sees one moment."""
    cursor = await conn.execute(STATUS_SQL, {"tables": list(TABLES)})
    row: Any = await cursor.fetchone()
    versions: list[str] = []
    if row[0]:
        cursor = await conn.execute(VERSIONS_SQL)
        versions = [version for (version,) in await cursor.fetchall()]
    return classify(has_version_table=row[0], comment=row[1], tables=row[2], versions=versions)


def require_current(status: SchemaStatus) -> None:
    """Return if this code can work with the schema.

    Raises:
        OpsError: it cannot; the message says which command makes it so.
    """
    match status.state:
        case "current":
            return
        case "empty":
            raise OpsError(
                "The database has no Aegis tables yet; run `aegis db upgrade`.",
                code="schema_empty",
            )
        case "behind":
            raise OpsError(
                f"The schema is at revision {status.revision}, this Aegis needs {HEAD}; "
                "run `aegis db upgrade`.",
                code="schema_behind",
            )
        case "ahead":
            raise OpsError(
                f"The schema is at revision {status.revision}, newer than this Aegis knows "
                f"({HEAD}); install a newer Aegis.",
                code="schema_ahead",
            )
        case "foreign":
            raise OpsError(
                f"alembic_version holds {status.revision!r}, which Aegis did not write; "
                "run `aegis db adopt`.",
                code="schema_foreign",
            )
        case "unversioned":
            raise OpsError(
                f"The database has {status.tables} of {len(TABLES)} Aegis tables but no "
                "revision; run `aegis db adopt`.",
                code="schema_unversioned",
            )
