"""What a worker writes: steps, and where their executions stand, of many executions at once.

Each execution is written by the worker whose fencing token it carries; what names an older token
changes nothing and is not returned. Written twice is the same as once: an answer that was lost
with its connection is asked for again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aegis.db import execute, fetch_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.workflows.execution import Reason, Status, StepRecord
    from aegis.workflows.models import JSON

__all__ = [
    "NewExecution",
    "Write",
    "Written",
    "check_constraints",
    "insert_executions",
    "step_rows",
    "tell_parents",
    "write",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An execution to be started."""

    id: str
    workflow_id: str
    version: int
    namespace: str
    context: dict[str, Any]
    current_node: str
    idempotency_key: str | None = None
    priority: int = 0
    deadline_at: datetime | None = None
    #: Seconds from the start, by the database's clock; the earlier of both counts.
    deadline_s: float | None = None
    parent_id: str | None = None
    forked_from: str | None = None
    #: Number of the latest step that comes with it.
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What has become of one execution, under the token it was claimed with."""

    id: str
    token: int
    status: Status = "running"
    reason: Reason | None = None
    current_node: str
    error: str | None = None
    #: Results to lay over the context's.
    nodes: dict[str, JSON] | None = None
    #: Of one that completed.
    output: JSON = None
    #: Number of its latest step.
    steps: int
    records: Sequence[StepRecord] = ()
    children: Sequence[NewExecution] = ()
    #: Ids of signals, and the step that took each.
    taken: Sequence[tuple[int, str]] = ()
    #: Whether the worker lets go of it, until `wake_at` or until it is told something.
    release: bool = False
    wake_at: datetime | None = None
    #: What it had been told when this was decided: more since then makes it due at once.
    seen: int = 0
    parent_id: str | None = field(default=None)

    @property
    def ends(self) -> bool:
        """Return whether it is over."""
        return self.status != "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How an execution stands after a write; none is returned where the token is an old one."""

    id: str
    status: Status
    #: Signals, approvals and ended children so far.
    signals: int
    #: Whoever watches was notified.
    told: bool = True


def _text(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as JSON; what is None is left out, and read as NULL."""
    return json.dumps(
        [{name: value for name, value in row.items() if value is not None} for row in rows],
        ensure_ascii=False,
        allow_nan=False,
    )


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _execution(given: Write) -> dict[str, Any]:
    return {
        "id": given.id,
        "token": given.token,
        "status": given.status,
        "reason": given.reason,
        "current_node": given.current_node,
        "error": given.error,
        "nodes": given.nodes,
        "output": given.output,
        "steps": given.steps,
        "release": given.release,
        "wake_at": _time(given.wake_at),
        "seen": given.seen,
    }


def step_rows(execution_id: str, records: Sequence[StepRecord]) -> str:
    """Return steps as the statements here read them."""
    return _text([_step(execution_id, record) for record in records])


def _step(execution_id: str, record: StepRecord) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "seq": record.seq,
        "node": record.node,
        "branch": record.branch,
        "visit": record.visit,
        "attempt": record.attempt,
        "status": record.status,
        "input": record.input,
        "output": record.output,
        "error_code": record.error_code,
        "error": record.error,
        "next_node": record.next_node,
        "due_at": _time(record.due_at),
        "started_at": record.started_at.isoformat(),
        "finished_at": _time(record.finished_at),
    }


async def write(conn: Connection, writes: Sequence[Write]) -> list[Written]:
    """Write steps and states, and return those whose token still holds; one statement."""
    return await fetch_all(
        conn,
        Written,
        """
        WITH given AS (
            SELECT *
            FROM jsonb_to_recordset(%(executions)s::jsonb) AS g (
                id uuid, token bigint, status text, reason text, current_node text, error text,
                nodes jsonb, output jsonb, steps integer, release boolean, wake_at timestamptz,
                seen integer
            )
        ),
        held AS (
            UPDATE workflow_executions e
            SET context = CASE
                    WHEN g.nodes IS NULL THEN e.context
                    ELSE e.context || jsonb_build_object(
                        'nodes', coalesce(e.context -> 'nodes', '{}'::jsonb) || g.nodes
                    )
                END,
                current_node = left(g.current_node, 100),
                -- Interrupted meanwhile: it stays so, unless this was its end.
                status = CASE WHEN g.status = 'running' THEN e.status ELSE g.status END,
                reason = CASE
                    WHEN g.status = 'running' AND e.status = 'interrupted' THEN e.reason
                    ELSE g.reason
                END,
                error = g.error,
                output = g.output,
                -- A person's act may have been numbered meanwhile.
                steps = GREATEST(e.steps, g.steps),
                takeovers = 0,
                lease_owner = CASE
                    WHEN NOT g.release AND g.status = 'running' THEN e.lease_owner
                END,
                lease_until = CASE
                    WHEN NOT g.release AND g.status = 'running' THEN e.lease_until
                END,
                wake_at = CASE
                    WHEN g.status <> 'running' THEN NULL
                    WHEN NOT g.release THEN e.wake_at
                    -- Told something that this decision did not know of.
                    WHEN e.signals > g.seen THEN now()
                    ELSE g.wake_at
                END,
                completed_at = CASE WHEN g.status <> 'running' THEN clock_timestamp() END
            FROM given g
            WHERE e.id = g.id
              AND e.token = g.token
              AND e.status IN ('running', 'interrupted')
            RETURNING e.id, e.status, e.signals
        ),
        noted AS (
            INSERT INTO workflow_steps (
                execution_id, seq, node, branch, visit, attempt, status, input, output,
                error_code, error, next_node, due_at, started_at, finished_at
            )
            SELECT s.execution_id, s.seq, s.node, s.branch, s.visit, s.attempt, s.status, s.input,
                   s.output, s.error_code, s.error, s.next_node, s.due_at, s.started_at,
                   s.finished_at
            FROM jsonb_to_recordset(%(steps)s::jsonb) AS s (
                execution_id uuid, seq integer, node text, branch text, visit integer,
                attempt integer, status text, input jsonb, output jsonb, error_code text,
                error text, next_node text, due_at timestamptz, started_at timestamptz,
                finished_at timestamptz
            )
            JOIN held h ON h.id = s.execution_id
            ON CONFLICT DO NOTHING
        ),
        taken AS (
            UPDATE workflow_signals x
            SET taken_by = t.taken_by
            FROM jsonb_to_recordset(%(taken)s::jsonb) AS t (
                id bigint, execution_id uuid, taken_by text
            )
            JOIN held h ON h.id = t.execution_id
            WHERE x.id = t.id
        )
        SELECT
            h.id::text AS id,
            h.status,
            h.signals,
            -- One notification a commit, for whoever watches.
            (SELECT pg_notify('aegis_workflow_changes', %(ids)s)) IS NOT NULL AS told
        FROM held h
        """,
        {
            "executions": _text([_execution(given) for given in writes]),
            "steps": _text([_step(w.id, record) for w in writes for record in w.records]),
            "taken": _text(
                [
                    {"id": number, "execution_id": w.id, "taken_by": step}
                    for w in writes
                    for number, step in w.taken
                ]
            ),
            "ids": ",".join(given.id for given in writes),
        },
    )


async def check_constraints(conn: Connection) -> None:
    """Check now what was put off to the end of the transaction."""
    await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")


async def insert_executions(conn: Connection, new: Sequence[NewExecution]) -> set[str]:
    """Insert executions that are due at once and wake workers; return the ids of those inserted.

    One that is there already, by id or by its idempotency key, is left as it is.
    """
    cursor = await conn.execute(
        """
        WITH new AS (
            INSERT INTO workflow_executions (
                id, workflow_id, version, namespace, context, current_node, status,
                idempotency_key, priority, started_at, wake_at, deadline_at, parent_id,
                forked_from, steps, reason
            )
            SELECT n.id, n.workflow_id, n.version, n.namespace, n.context,
                   left(n.current_node, 100),
                   -- Its parent was interrupted while the step that starts it was recorded.
                   CASE WHEN p.status = 'interrupted' THEN 'interrupted' ELSE 'running' END,
                   n.idempotency_key, n.priority, now(),
                   now(),
                   LEAST(n.deadline_at, now() + make_interval(secs => n.deadline_s)),
                   n.parent_id, n.forked_from, n.steps,
                   CASE WHEN p.status = 'interrupted' THEN 'parent_paused' END
            FROM jsonb_to_recordset(%(new)s::jsonb) AS n (
                id uuid, workflow_id uuid, version integer, namespace text, context jsonb,
                current_node text, idempotency_key text, priority smallint,
                deadline_at timestamptz, deadline_s double precision, parent_id uuid,
                forked_from uuid, steps integer
            )
            LEFT JOIN workflow_executions p ON p.id = n.parent_id
            ON CONFLICT DO NOTHING
            RETURNING id
        )
        SELECT id::text, (SELECT pg_notify('aegis_work', 'workflows'))
        FROM new
        """,
        {
            "new": _text(
                [{name: getattr(given, name) for name in NewExecution.__slots__} for given in new]
            )
        },
    )
    return {row[0] for row in await cursor.fetchall()}


async def tell_parents(conn: Connection, children: Sequence[str]) -> int:
    """Make the parents of executions that ended due, and tell the workers that hold them."""
    return await execute(
        conn,
        """
        WITH parents AS (
            UPDATE workflow_executions p
            SET signals = p.signals + 1,
                wake_at = now()
            FROM (
                SELECT DISTINCT parent_id
                FROM workflow_executions
                WHERE id = ANY (%(children)s::uuid[])
                  AND parent_id IS NOT NULL
            ) c
            WHERE p.id = c.parent_id
              AND p.status IN ('running', 'interrupted')
            RETURNING p.id
        )
        SELECT pg_notify('aegis_workflow_told', id::text), pg_notify('aegis_work', 'workflows')
        FROM parents
        """,
        {"children": list(children)},
    )
