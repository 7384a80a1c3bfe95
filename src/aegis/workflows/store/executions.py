"""Reading executions, and what people do to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.workflows.execution import Execution

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.workflows.execution import Status
    from aegis.workflows.models import JSON

__all__ = [
    "Carried",
    "Version",
    "cancel",
    "count_ancestors",
    "find_by_key",
    "find_execution",
    "find_executions",
    "find_version",
    "forget",
    "list_executions",
    "read_carried",
    "read_graph",
    "read_workflow_id",
    "reopen",
]

_COLUMNS: Final[LiteralString] = """
    e.id::text AS id, w.name AS workflow, e.version, e.namespace, e.status, e.reason,
    e.current_node, e.error, e.idempotency_key, e.priority, e.started_at, e.completed_at,
    e.wake_at, e.deadline_at, e.lease_owner, e.parent_id::text AS parent_id,
    e.forked_from::text AS forked_from, e.steps, e.pruned_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a workflow, as it is started."""

    workflow_id: str
    version: int
    status: str
    graph: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What an execution carries."""

    context: Any
    output: JSON


async def find_version(conn: Connection, *, name: str, version: int | None) -> Version | None:
    """Return a version of a workflow; without a number the newest active one."""
    return await fetch_optional(
        conn,
        Version,
        """
        SELECT v.workflow_id::text AS workflow_id, v.version, v.status, v.graph
        FROM workflows w
        JOIN workflow_versions v ON v.workflow_id = w.id
        WHERE w.name = %(name)s
          AND w.version IS NOT NULL
          AND CASE
              WHEN %(version)s::integer IS NULL THEN v.status = 'active'
              ELSE v.version = %(version)s
          END
        ORDER BY v.version DESC
        LIMIT 1
        """,
        {"name": name, "version": version},
    )


async def read_graph(conn: Connection, *, workflow_id: str, version: int) -> Any:
    """Return the graph of a version as stored, None where it is not there."""
    return await fetch_value(
        conn,
        """
        SELECT graph
        FROM workflow_versions
        WHERE workflow_id = %(workflow_id)s
          AND version = %(version)s
        """,
        {"workflow_id": workflow_id, "version": version},
    )


async def find_execution(conn: Connection, id: str, *, lock: bool = False) -> Execution | None:
    """Return an execution; with `lock` nobody changes it until the transaction ends."""
    select: LiteralString = (
        "SELECT "
        + _COLUMNS
        + """
        FROM workflow_executions e
        LEFT JOIN workflows w ON w.id = e.workflow_id
        WHERE e.id = %(id)s
        """
    )
    suffix: LiteralString = "FOR UPDATE OF e" if lock else ""
    return await fetch_optional(conn, Execution, select + suffix, {"id": id})


async def find_by_key(conn: Connection, *, workflow_id: str, key: str) -> Execution | None:
    """Return the execution that a key started."""
    return await fetch_optional(
        conn,
        Execution,
        "SELECT "
        + _COLUMNS
        + """
        FROM workflow_executions e
        JOIN workflows w ON w.id = e.workflow_id
        WHERE e.workflow_id = %(workflow_id)s
          AND e.idempotency_key = %(key)s
        """,
        {"workflow_id": workflow_id, "key": key},
    )


async def find_executions(conn: Connection, ids: Sequence[str]) -> list[Execution]:
    """Return those of these executions that there are, in no order."""
    return await fetch_all(
        conn,
        Execution,
        "SELECT "
        + _COLUMNS
        + """
        FROM workflow_executions e
        LEFT JOIN workflows w ON w.id = e.workflow_id
        WHERE e.id = ANY (%(ids)s::uuid[])
        """,
        {"ids": list(ids)},
    )


async def list_executions(
    conn: Connection,
    *,
    workflow: str | None,
    status: Status | None,
    namespace: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Execution]:
    """Return executions, the latest started first."""
    return await fetch_all(
        conn,
        Execution,
        "SELECT "
        + _COLUMNS
        + """
        FROM workflow_executions e
        LEFT JOIN workflows w ON w.id = e.workflow_id
        WHERE (%(workflow)s::text IS NULL OR w.name = %(workflow)s)
          AND (%(status)s::text IS NULL OR e.status = %(status)s)
          AND (%(namespace)s::text IS NULL OR e.namespace = %(namespace)s)
          AND (
              %(at)s::timestamptz IS NULL
              OR (e.started_at, e.id) < (%(at)s::timestamptz, %(id)s::uuid)
          )
        ORDER BY e.started_at DESC, e.id DESC
        LIMIT %(limit)s
        """,
        {
            "workflow": workflow,
            "status": status,
            "namespace": namespace,
            "at": before[0] if before else None,
            "id": before[1] if before else None,
            "limit": limit,
        },
    )


async def read_carried(conn: Connection, id: str) -> Carried | None:
    """Return what an execution carries."""
    return await fetch_optional(
        conn,
        Carried,
        "SELECT context, output FROM workflow_executions WHERE id = %(id)s",
        {"id": id},
    )


async def count_ancestors(conn: Connection, id: str, *, most: int) -> int:
    """Return how many executions stand above one, `most` at most."""
    return await fetch_value(
        conn,
        """
        WITH RECURSIVE above AS (
            SELECT parent_id, 1 AS depth
            FROM workflow_executions
            WHERE id = %(id)s
            UNION ALL
            SELECT e.parent_id, a.depth + 1
            FROM above a
            JOIN workflow_executions e ON e.id = a.parent_id
            WHERE a.depth < %(most)s
        )
        SELECT max(depth) - 1 + bool_or(depth = %(most)s)::integer FROM above
        """,
        {"id": id, "most": most},
    )


async def reopen(
    conn: Connection,
    id: str,
    *,
    steps: int,
    context: JSON,
    node: str,
    deadline_at: datetime | None,
    deadline_s: float | None,
) -> int:
    """Make an execution that the caller has locked run again, due at once.

    `deadline_s` begins now; the earlier of both deadlines counts.
    """
    return await execute(
        conn,
        """
        WITH opened AS (
            UPDATE workflow_executions
            SET status = 'running',
                reason = NULL,
                error = NULL,
                output = NULL,
                completed_at = NULL,
                takeovers = 0,
                signals = signals + 1,
                wake_at = now(),
                steps = %(steps)s,
                context = %(context)s,
                current_node = left(%(node)s, 100),
                deadline_at = LEAST(
                    %(deadline_at)s::timestamptz,
                    now() + make_interval(secs => %(deadline_s)s)
                )
            WHERE id = %(id)s
            RETURNING id::text
        )
        SELECT pg_notify('aegis_workflow_told', id), pg_notify('aegis_workflow_changes', id),
               pg_notify('aegis_work', 'workflows')
        FROM opened
        """,
        {
            "id": id,
            "steps": steps,
            "context": Jsonb(context),
            "node": node,
            "deadline_at": deadline_at,
            "deadline_s": deadline_s,
        },
    )


async def cancel(
    conn: Connection, ids: Sequence[str], *, error: str, children_only: bool = False
) -> list[str]:
    """Fail executions and what they started, take them from their workers; return the ids."""
    cursor = await conn.execute(
        """
        WITH RECURSIVE family AS (
            SELECT id FROM workflow_executions WHERE id = ANY (%(ids)s::uuid[])
            UNION
            SELECT e.id
            FROM family f
            JOIN workflow_executions e ON e.parent_id = f.id
        ),
        locked AS (
            SELECT e.id
            FROM workflow_executions e
            JOIN family f ON f.id = e.id
            WHERE e.status IN ('running', 'interrupted')
              AND NOT (%(children_only)s AND e.id = ANY (%(ids)s::uuid[]))
            ORDER BY e.id
            FOR UPDATE OF e
        ),
        cancelled AS (
            UPDATE workflow_executions e
            SET status = 'failed',
                reason = 'cancelled',
                error = %(error)s,
                token = e.token + 1,
                lease_owner = NULL,
                lease_until = NULL,
                wake_at = NULL,
                completed_at = now()
            FROM locked l
            WHERE e.id = l.id
            RETURNING e.id::text
        )
        SELECT id, pg_notify('aegis_workflow_told', id), pg_notify('aegis_workflow_changes', id)
        FROM cancelled
        """,
        {"ids": list(ids), "error": error, "children_only": children_only},
    )
    return [row[0] for row in await cursor.fetchall()]


async def read_workflow_id(conn: Connection, id: str) -> str:
    """Return the id of an execution's workflow."""
    return await fetch_value(
        conn,
        "SELECT workflow_id::text FROM workflow_executions WHERE id = %(id)s",
        {"id": id},
    )


async def forget(conn: Connection, *, keep_days: float, limit: int) -> int:
    """Delete executions that ended longer ago, were pruned, and are part of none that stays."""
    return await execute(
        conn,
        """
        WITH old AS (
            SELECT e.id
            FROM workflow_executions e
            WHERE e.version IS NOT NULL
              AND e.pruned_at IS NOT NULL
              AND e.completed_at < now() - make_interval(secs => %(keep_days)s * 86400.0)
              AND e.status IN ('completed', 'failed')
              AND NOT EXISTS (
                  SELECT
                  FROM workflow_executions p
                  WHERE p.id = e.parent_id
                    AND (
                        p.completed_at IS NULL
                        OR p.completed_at >= now() - make_interval(secs => %(keep_days)s * 86400.0)
                    )
              )
            ORDER BY e.completed_at
            LIMIT %(limit)s
            FOR UPDATE OF e SKIP LOCKED
        )
        DELETE FROM workflow_executions e
        USING old o
        WHERE e.id = o.id
        """,
        {"keep_days": keep_days, "limit": limit},
    )
