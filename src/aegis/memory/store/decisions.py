"""SQL over `decision_outcomes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, update_one
from aegis.memory.models import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection
    from aegis.memory.models import Feedback, NewDecision, Outcome

__all__ = [
    "delete_decision",
    "get_decision",
    "insert_decision",
    "list_decisions",
    "list_decisions_of_episodes",
    "page_decisions",
    "resolve_decision",
    "update_decision",
]

_COLUMNS: LiteralString = """
    d.id,
    d.namespace,
    d.decision_id AS episode_id,
    d.task_context,
    d.alternatives,
    d.chosen_option,
    d.reasoning,
    coalesce(d.outcome_status, 'pending') AS outcome_status,
    d.outcome_details,
    d.lessons_learned,
    d.user_feedback,
    coalesce(d.created_at, d.resolved_at, 'epoch') AS created_at,
    d.resolved_at
"""


async def insert_decision(
    conn: Connection, decision: NewDecision, *, namespace: str, episode_id: int | None
) -> Decision:
    """Insert one decision, pending."""
    return await fetch_one(
        conn,
        Decision,
        """
        INSERT INTO decision_outcomes AS d (
            decision_id, task_context, alternatives, chosen_option, reasoning, namespace
        )
        VALUES (
            %(episode_id)s, %(task_context)s, %(alternatives)s, %(chosen_option)s, %(reasoning)s,
            %(namespace)s
        )
        RETURNING
        """
        + _COLUMNS,
        {
            "episode_id": episode_id,
            "task_context": decision.task_context,
            "alternatives": Jsonb(list(decision.alternatives)),
            "chosen_option": decision.chosen_option.strip(),
            "reasoning": decision.reasoning,
            "namespace": namespace,
        },
        missing="The decision was not stored.",
    )


async def get_decision(conn: Connection, decision_id: int, *, namespace: str) -> Decision:
    """Return one decision; `NotFound` where the namespace has none of this id."""
    return await fetch_one(
        conn,
        Decision,
        "SELECT "
        + _COLUMNS
        + "FROM decision_outcomes d WHERE d.id = %(id)s AND d.namespace = %(namespace)s",
        {"id": decision_id, "namespace": namespace},
        missing=f"There is no decision {decision_id} in namespace {namespace!r}.",
    )


async def list_decisions(
    conn: Connection, *, namespace: str, outcome: Outcome | None, limit: int, offset: int
) -> list[Decision]:
    """Return decisions, newest first."""
    return await fetch_all(
        conn,
        Decision,
        "SELECT "
        + _COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND (%(outcome)s::text IS NULL OR coalesce(d.outcome_status, 'pending') = %(outcome)s)
        ORDER BY d.created_at DESC NULLS LAST, d.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"namespace": namespace, "outcome": outcome, "limit": limit, "offset": offset},
    )


async def list_decisions_of_episodes(
    conn: Connection, episode_ids: Sequence[int], *, namespace: str
) -> list[Decision]:
    """Return the decisions that belong to these episodes."""
    return await fetch_all(
        conn,
        Decision,
        "SELECT "
        + _COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND d.decision_id = ANY(%(episode_ids)s)
        ORDER BY d.id
        """,
        {"namespace": namespace, "episode_ids": list(episode_ids)},
    )


async def page_decisions(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[Decision]:
    """Return the namespace's decisions behind `after_id`, by id."""
    return await fetch_all(
        conn,
        Decision,
        "SELECT "
        + _COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND d.id > %(after_id)s
        ORDER BY d.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )


async def resolve_decision(
    conn: Connection,
    decision_id: int,
    *,
    namespace: str,
    status: Outcome,
    details: Mapping[str, Any] | None,
    lessons: str | None,
    feedback: Feedback | None,
) -> Decision | None:
    """Record the outcome of a pending decision; None if there is no pending one of this id."""
    return await fetch_optional(
        conn,
        Decision,
        """
        UPDATE decision_outcomes AS d
        SET outcome_status = %(status)s,
            outcome_details = %(details)s,
            lessons_learned = %(lessons)s,
            user_feedback = coalesce(%(feedback)s, d.user_feedback),
            resolved_at = now()
        WHERE d.id = %(id)s
          AND d.namespace = %(namespace)s
          AND coalesce(d.outcome_status, 'pending') = 'pending'
        RETURNING
        """
        + _COLUMNS,
        {
            "id": decision_id,
            "namespace": namespace,
            "status": status,
            "details": None if details is None else Jsonb(dict(details)),
            "lessons": lessons,
            "feedback": feedback,
        },
    )


_UPDATABLE: Mapping[str, LiteralString] = {
    "task_context": "text",
    "reasoning": "text",
    "lessons_learned": "text",
    "user_feedback": "text",
    "outcome_details": "jsonb",
}


async def update_decision(
    conn: Connection, decision_id: int, changes: Mapping[str, Any], *, namespace: str
) -> Decision:
    """Set the columns in `changes`, whose names must be updatable; `NotFound` if no row."""
    return await update_one(
        conn,
        Decision,
        "decision_outcomes",
        "d",
        changes,
        types=_UPDATABLE,
        stamp=None,
        row_id=decision_id,
        namespace=namespace,
        returning=_COLUMNS,
        missing=f"There is no decision {decision_id} in namespace {namespace!r}.",
    )


async def delete_decision(conn: Connection, decision_id: int, *, namespace: str) -> int:
    """Delete one decision and return how many rows went (0 or 1)."""
    return await execute(
        conn,
        "DELETE FROM decision_outcomes WHERE id = %(id)s AND namespace = %(namespace)s",
        {"id": decision_id, "namespace": namespace},
    )
