"""SQL over `decision_outcomes` and `decision_episodes`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString, cast

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, update_one
from aegis.errors import NotFound
from aegis.memory.models import Decision, DecisionEpisode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection
    from aegis.memory.models import Feedback, NewDecision, Outcome

__all__ = [
    "COLUMNS",
    "as_decisions",
    "delete_decision",
    "get_decision",
    "insert_decision",
    "link_episodes",
    "list_decisions",
    "list_decisions_of_episodes",
    "page_decisions",
    "resolve_decision",
    "update_decision",
]

#: What a `Decision` is read from; its rows go through `as_decisions`.
COLUMNS: LiteralString = """
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
    d.confidence,
    d.review_at,
    (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object('episode_id', l.episode_id, 'role', l.role)
                ORDER BY l.episode_id
            ),
            '[]'
        )
        FROM decision_episodes l
        WHERE l.decision_id = d.id
    ) AS episodes,
    coalesce(d.created_at, d.resolved_at, 'epoch') AS created_at,
    d.resolved_at
"""


async def insert_decision(
    conn: Connection, decision: NewDecision, *, namespace: str, episode_id: int | None
) -> Decision:
    """Insert one decision, pending."""
    row = await fetch_one(
        conn,
        Decision,
        """
        INSERT INTO decision_outcomes AS d (
            decision_id, task_context, alternatives, chosen_option, reasoning, namespace,
            confidence, review_at
        )
        VALUES (
            %(episode_id)s, %(task_context)s, %(alternatives)s, %(chosen_option)s, %(reasoning)s,
            %(namespace)s, %(confidence)s::double precision, %(review_at)s::timestamptz
        )
        RETURNING
        """
        + COLUMNS,
        {
            "episode_id": episode_id,
            "task_context": decision.task_context,
            "alternatives": Jsonb(list(decision.alternatives)),
            "chosen_option": decision.chosen_option.strip(),
            "reasoning": decision.reasoning,
            "namespace": namespace,
            "confidence": decision.confidence,
            "review_at": decision.review_at,
        },
        missing="The decision was not stored.",
    )
    return _linked(row)


async def link_episodes(
    conn: Connection, decision_id: int, links: Sequence[DecisionEpisode], *, namespace: str
) -> None:
    """Link a decision to the episodes that led to it, each of the decision's namespace.

    Raises:
        NotFound: the namespace has no such episode.
    """
    cursor = await conn.execute(
        """
        INSERT INTO decision_episodes (decision_id, episode_id, role)
        SELECT %(decision_id)s, e.id, x.role
        FROM unnest(%(episode_ids)s::integer[], %(roles)s::text[]) AS x (episode_id, role)
        JOIN episodic_memory e ON e.id = x.episode_id
        WHERE e.namespace = %(namespace)s
        RETURNING episode_id
        """,
        {
            "decision_id": decision_id,
            "episode_ids": [link.episode_id for link in links],
            "roles": [link.role for link in links],
            "namespace": namespace,
        },
    )
    there = {row[0] for row in await cursor.fetchall()}
    for link in links:
        if link.episode_id not in there:
            raise NotFound(f"There is no episode {link.episode_id} in namespace {namespace!r}.")


async def get_decision(conn: Connection, decision_id: int, *, namespace: str) -> Decision:
    """Return one decision; `NotFound` where the namespace has none of this id."""
    row = await fetch_one(
        conn,
        Decision,
        "SELECT "
        + COLUMNS
        + "FROM decision_outcomes d WHERE d.id = %(id)s AND d.namespace = %(namespace)s",
        {"id": decision_id, "namespace": namespace},
        missing=f"There is no decision {decision_id} in namespace {namespace!r}.",
    )
    return _linked(row)


async def list_decisions(
    conn: Connection, *, namespace: str, outcome: Outcome | None, limit: int, offset: int
) -> list[Decision]:
    """Return decisions, newest first."""
    rows = await fetch_all(
        conn,
        Decision,
        "SELECT "
        + COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND (%(outcome)s::text IS NULL OR coalesce(d.outcome_status, 'pending') = %(outcome)s)
        ORDER BY d.created_at DESC NULLS LAST, d.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"namespace": namespace, "outcome": outcome, "limit": limit, "offset": offset},
    )
    return as_decisions(rows)


async def list_decisions_of_episodes(
    conn: Connection, episode_ids: Sequence[int], *, namespace: str
) -> list[Decision]:
    """Return the decisions that belong to these episodes."""
    rows = await fetch_all(
        conn,
        Decision,
        "SELECT "
        + COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND d.decision_id = ANY(%(episode_ids)s)
        ORDER BY d.id
        """,
        {"namespace": namespace, "episode_ids": list(episode_ids)},
    )
    return as_decisions(rows)


async def page_decisions(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[Decision]:
    """Return the namespace's decisions behind `after_id`, by id."""
    rows = await fetch_all(
        conn,
        Decision,
        "SELECT "
        + COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND d.id > %(after_id)s
        ORDER BY d.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )
    return as_decisions(rows)


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
    row = await fetch_optional(
        conn,
        Decision,
        """
        UPDATE decision_outcomes AS d
        SET outcome_status = %(status)s,
            outcome_details = coalesce(%(details)s::jsonb, d.outcome_details),
            lessons_learned = coalesce(%(lessons)s, d.lessons_learned),
            user_feedback = coalesce(%(feedback)s, d.user_feedback),
            resolved_at = now()
        WHERE d.id = %(id)s
          AND d.namespace = %(namespace)s
          AND coalesce(d.outcome_status, 'pending') = 'pending'
        RETURNING
        """
        + COLUMNS,
        {
            "id": decision_id,
            "namespace": namespace,
            "status": status,
            "details": None if details is None else Jsonb(dict(details)),
            "lessons": lessons,
            "feedback": feedback,
        },
    )
    return None if row is None else _linked(row)


_UPDATABLE: Mapping[str, LiteralString] = {
    "task_context": "text",
    "reasoning": "text",
    "lessons_learned": "text",
    "user_feedback": "text",
    "outcome_details": "jsonb",
    "review_at": "timestamptz",
}


async def update_decision(
    conn: Connection, decision_id: int, changes: Mapping[str, Any], *, namespace: str
) -> Decision:
    """Set the columns in `changes`, whose names must be updatable; `NotFound` if no row."""
    row = await update_one(
        conn,
        Decision,
        "decision_outcomes",
        "d",
        changes,
        types=_UPDATABLE,
        stamp=None,
        row_id=decision_id,
        namespace=namespace,
        returning=COLUMNS,
        missing=f"There is no decision {decision_id} in namespace {namespace!r}.",
    )
    return _linked(row)


async def delete_decision(conn: Connection, decision_id: int, *, namespace: str) -> int:
    """Delete one decision and return how many rows went (0 or 1)."""
    return await execute(
        conn,
        "DELETE FROM decision_outcomes WHERE id = %(id)s AND namespace = %(namespace)s",
        {"id": decision_id, "namespace": namespace},
    )


def as_decisions(rows: Sequence[Decision]) -> list[Decision]:
    """Return decisions as read with their links as what they are: the driver reads JSON."""
    return [_linked(row) for row in rows]


def _linked(row: Decision) -> Decision:
    links = cast("list[dict[str, Any]]", row.episodes)
    return replace(row, episodes=[DecisionEpisode(**link) for link in links])
