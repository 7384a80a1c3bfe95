"""Steps, signals and children of executions: reading them, sending, copying, removing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_value
from aegis.workflows.execution import Signal, StepRecord
from aegis.workflows.store.writes import step_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.workflows.models import JSON

__all__ = [
    "EndedChild",
    "copy_steps",
    "count_untaken",
    "insert_steps",
    "list_ended",
    "list_signals",
    "list_steps",
    "prune",
    "send_signal",
    "was_resumed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedChild:
    """A child execution that is over."""

    id: str
    status: str
    output: JSON
    error: str | None


async def list_steps(
    conn: Connection, id: str, *, after: int = 0, limit: int | None = None
) -> list[StepRecord]:
    """Return recorded steps in their order."""
    return await fetch_all(
        conn,
        StepRecord,
        """
        SELECT seq, node, branch, visit, attempt, status, input, output, error_code, error,
               next_node, due_at, started_at, finished_at
        FROM workflow_steps
        WHERE execution_id = %(id)s
          AND seq > %(after)s
        -- A person's act may have the number of a step that was being written.
        ORDER BY seq, node COLLATE "C", branch
        LIMIT %(limit)s
        """,
        {"id": id, "after": after, "limit": limit},
    )


async def was_resumed(conn: Connection, id: str) -> bool:
    """Return whether a person resumed an execution."""
    return await fetch_value(
        conn,
        """
        SELECT EXISTS (
            SELECT
            FROM workflow_steps
            WHERE execution_id = %(id)s
              AND node = '@resume'
        )
        """,
        {"id": id},
    )


async def insert_steps(conn: Connection, id: str, records: Sequence[StepRecord]) -> int:
    """Record what a person did; the caller holds the execution's lock."""
    return await execute(
        conn,
        """
        INSERT INTO workflow_steps (
            execution_id, seq, node, branch, visit, attempt, status, input, output, error_code,
            error, next_node, due_at, started_at, finished_at
        )
        SELECT s.execution_id, s.seq, s.node, s.branch, s.visit, s.attempt, s.status, s.input,
               s.output, s.error_code, s.error, s.next_node, s.due_at, s.started_at, s.finished_at
        FROM jsonb_to_recordset(%(steps)s::jsonb) AS s (
            execution_id uuid, seq integer, node text, branch text, visit integer, attempt integer,
            status text, input jsonb, output jsonb, error_code text, error text, next_node text,
            due_at timestamptz, started_at timestamptz, finished_at timestamptz
        )
        """,
        {"steps": step_rows(id, records)},
    )


async def copy_steps(conn: Connection, *, source: str, target: str, below: int) -> int:
    """Give an execution the steps of another that are numbered below `below`."""
    return await execute(
        conn,
        """
        INSERT INTO workflow_steps (
            execution_id, seq, node, branch, visit, attempt, status, input, output, error_code,
            error, next_node, due_at, started_at, finished_at
        )
        SELECT %(target)s, seq, node, branch, visit, attempt, status, input, output, error_code,
               error, next_node, due_at, started_at, finished_at
        FROM workflow_steps
        WHERE execution_id = %(source)s
          AND seq < %(below)s
        """,
        {"source": source, "target": target, "below": below},
    )


async def list_signals(conn: Connection, id: str) -> list[Signal]:
    """Return signals that no step has taken, in the order in which they came."""
    return await fetch_all(
        conn,
        Signal,
        """
        SELECT id, name, payload, sent_at, taken_by
        FROM workflow_signals
        WHERE execution_id = %(id)s
          AND taken_by IS NULL
        ORDER BY id
        """,
        {"id": id},
    )


async def count_untaken(conn: Connection, id: str) -> int:
    """Return how many signals no step has taken."""
    return await fetch_value(
        conn,
        """
        SELECT count(*)
        FROM workflow_signals
        WHERE execution_id = %(id)s
          AND taken_by IS NULL
        """,
        {"id": id},
    )


async def send_signal(
    conn: Connection, id: str, *, name: str, payload: JSON, key: str | None
) -> int:
    """Keep a signal, make its execution due and tell its worker; 0 where the key was used.

    The caller holds the execution's lock.
    """
    return await execute(
        conn,
        """
        WITH sent AS (
            INSERT INTO workflow_signals (execution_id, name, payload, key)
            VALUES (%(id)s, %(name)s, %(payload)s, %(key)s)
            ON CONFLICT (execution_id, key) DO NOTHING
            RETURNING execution_id
        ),
        due AS (
            UPDATE workflow_executions e
            SET signals = e.signals + 1,
                wake_at = now()
            FROM sent s
            WHERE e.id = s.execution_id
            RETURNING e.id::text
        )
        SELECT pg_notify('aegis_workflow_told', id), pg_notify('aegis_work', 'workflows')
        FROM due
        """,
        {"id": id, "name": name, "payload": Jsonb(payload), "key": key},
    )


async def list_ended(conn: Connection, ids: Sequence[str]) -> list[EndedChild]:
    """Return those of these executions that are over."""
    return await fetch_all(
        conn,
        EndedChild,
        """
        SELECT id::text AS id, status, output, error
        FROM workflow_executions
        WHERE id = ANY (%(ids)s::uuid[])
          AND status IN ('completed', 'failed')
        """,
        {"ids": list(ids)},
    )


async def prune(conn: Connection, *, keep_days: float, limit: int) -> int:
    """Remove steps and signals of executions that ended longer ago; return of how many."""
    return await execute(
        conn,
        """
        WITH old AS (
            SELECT id
            FROM workflow_executions
            WHERE version IS NOT NULL
              AND pruned_at IS NULL
              AND completed_at < now() - make_interval(secs => %(keep_days)s * 86400)
            ORDER BY completed_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ),
        steps AS (
            DELETE FROM workflow_steps s USING old o WHERE s.execution_id = o.id
        ),
        signals AS (
            DELETE FROM workflow_signals s USING old o WHERE s.execution_id = o.id
        )
        UPDATE workflow_executions e SET pruned_at = now() FROM old o WHERE e.id = o.id
        """,
        {"keep_days": keep_days, "limit": limit},
    )
