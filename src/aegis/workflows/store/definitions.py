"""SQL of definitions: the newest graph of each name, and every version of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_optional, fetch_value

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection
    from aegis.workflows.models import JSON

__all__ = [
    "Row",
    "count_executions",
    "delete_workflow",
    "find_version",
    "insert_version",
    "list_newest",
    "list_versions",
    "lock_workflow",
    "set_status",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version with its workflow's name."""

    id: str
    name: str
    version: int
    graph: Any
    status: str
    created_at: datetime


async def lock_workflow(conn: Connection, name: str) -> str:
    """Return the id of a workflow, made if it is new, and hold its row until the end.

    Rows of other programs, which have no version, are left alone.
    """
    await execute(
        conn,
        """
        INSERT INTO workflows (name, graph, version)
        VALUES (%(name)s, '{}', 0)
        ON CONFLICT (name) WHERE version IS NOT NULL DO NOTHING
        """,
        {"name": name},
    )
    return await fetch_value(
        conn,
        """
        SELECT id::text
        FROM workflows
        WHERE name = %(name)s
          AND version IS NOT NULL
        FOR UPDATE
        """,
        {"name": name},
    )


async def insert_version(conn: Connection, workflow_id: str, version: int, graph: JSON) -> None:
    """Add a version and make it the workflow's newest."""
    await execute(
        conn,
        """
        WITH added AS (
            INSERT INTO workflow_versions (workflow_id, version, graph)
            VALUES (%(id)s::uuid, %(version)s, %(graph)s)
        )
        UPDATE workflows
        SET version = %(version)s,
            graph = %(graph)s,
            status = 'active',
            updated_at = now()
        WHERE id = %(id)s::uuid
        """,
        {"id": workflow_id, "version": version, "graph": Jsonb(graph)},
    )


async def find_version(conn: Connection, name: str, version: int | None) -> Row | None:
    """Return a version, or the newest one, active or not."""
    return await fetch_optional(
        conn,
        Row,
        """
        SELECT w.id::text AS id, w.name, v.version, v.graph, v.status, v.created_at
        FROM workflows w
        JOIN workflow_versions v ON v.workflow_id = w.id
        WHERE w.name = %(name)s
          AND w.version IS NOT NULL
          AND v.version = coalesce(%(version)s::integer, w.version)
        """,
        {"name": name, "version": version},
    )


async def list_newest(
    conn: Connection, *, after: str | None, limit: int, archived: bool
) -> list[Row]:
    """Return the newest version of each workflow, by name."""
    return await fetch_all(
        conn,
        Row,
        """
        SELECT w.id::text AS id, w.name, v.version, v.graph, v.status, v.created_at
        FROM workflows w
        JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = w.version
        WHERE w.version IS NOT NULL
          AND (%(after)s::text IS NULL OR w.name > %(after)s)
          AND (%(archived)s OR v.status = 'active')
        ORDER BY w.name
        LIMIT %(limit)s
        """,
        {"after": after, "limit": limit, "archived": archived},
    )


async def list_versions(conn: Connection, name: str) -> list[Row]:
    """Return every version of a workflow, the newest first."""
    return await fetch_all(
        conn,
        Row,
        """
        SELECT w.id::text AS id, w.name, v.version, v.graph, v.status, v.created_at
        FROM workflows w
        JOIN workflow_versions v ON v.workflow_id = w.id
        WHERE w.name = %(name)s
          AND w.version IS NOT NULL
        ORDER BY v.version DESC
        """,
        {"name": name},
    )


async def set_status(conn: Connection, name: str, version: int | None, status: str) -> int:
    """Set the status of one version, or of all, and return of how many.

    The workflow itself is active as long as its newest version is.
    """
    count = await execute(
        conn,
        """
        UPDATE workflow_versions v
        SET status = %(status)s
        FROM workflows w
        WHERE v.workflow_id = w.id
          AND w.name = %(name)s
          AND w.version IS NOT NULL
          AND (%(version)s::integer IS NULL OR v.version = %(version)s)
        """,
        {"name": name, "version": version, "status": status},
    )
    await execute(
        conn,
        """
        UPDATE workflows w
        SET status = v.status,
            updated_at = now()
        FROM workflow_versions v
        WHERE v.workflow_id = w.id
          AND v.version = w.version
          AND w.name = %(name)s
          AND w.status IS DISTINCT FROM v.status
        """,
        {"name": name},
    )
    return count


async def count_executions(conn: Connection, workflow_id: str) -> int:
    """Return how many executions a workflow has, up to 1,000."""
    return await fetch_value(
        conn,
        """
        SELECT count(*)
        FROM (
            SELECT FROM workflow_executions WHERE workflow_id = %(id)s::uuid LIMIT 1000
        ) AS held
        """,
        {"id": workflow_id},
    )


async def delete_workflow(conn: Connection, workflow_id: str) -> int:
    """Delete a workflow with its versions; executions of it forbid that."""
    return await execute(conn, "DELETE FROM workflows WHERE id = %(id)s::uuid", {"id": workflow_id})
