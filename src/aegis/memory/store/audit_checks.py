"""What the audit asks of rows: conditions on episodes, facts and decisions, by check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

__all__ = ["ALIVE", "EXPIRING", "ROW_CHECKS", "UNFOLLOWED", "UNSAID", "RowCheck", "checks_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCheck:
    """A check that is a condition on rows `e` of a table."""

    kind: str
    table: LiteralString
    condition: LiteralString
    #: Text of the row for a person.
    shown: LiteralString
    #: Whether an index finds the rows; otherwise a large table is sampled.
    indexed: bool


_EPISODE: LiteralString = "e.summary"
_FACT: LiteralString = "e.concept || ': ' || e.content"
_WITH_VECTORS: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("episodic_memory", _EPISODE),
    ("semantic_memory", _FACT),
)
EXPIRING = ("episodic_memory", "semantic_memory")
ALIVE: LiteralString = "(e.expires_at > now()) IS NOT FALSE"
_HOLDS: LiteralString = (
    "(e.valid_from IS NULL OR e.valid_from <= now()) AND (e.valid_to IS NULL OR e.valid_to > now())"
)

#: Superseded by a fact that is gone.
UNFOLLOWED: LiteralString = """
    (
        e.superseded_by IS NOT NULL
        AND NOT EXISTS (SELECT FROM semantic_memory x WHERE x.id = e.superseded_by)
    )
"""
#: Made of episodes of which none is left.
UNSAID: LiteralString = """
    (
        e.source = 'consolidation'
        AND jsonb_typeof(e.metadata -> 'episodes') = 'array'
        AND NOT EXISTS (
            SELECT
            FROM jsonb_path_query(
                e.metadata,
                '$.episodes[*] ? (@.type() == "number" && @ >= 1 && @ < 2147483647)'
            ) AS n (id)
            JOIN episodic_memory x ON x.id = n.id::int
        )
    )
"""

ROW_CHECKS: tuple[RowCheck, ...] = (
    RowCheck(
        kind="orphans_related",
        table="episodic_memory",
        condition="""
            e.related_memories <> '{}'
            AND EXISTS (
                SELECT
                FROM unnest(e.related_memories) AS r (id)
                WHERE NOT EXISTS (SELECT FROM episodic_memory x WHERE x.id = r.id)
            )
        """,
        shown=_EPISODE,
        indexed=False,
    ),
    RowCheck(
        kind="orphans_facts",
        table="semantic_memory",
        condition=UNFOLLOWED + " OR " + UNSAID,
        shown=_FACT,
        indexed=False,
    ),
    RowCheck(
        kind="decisions_open",
        table="decision_outcomes",
        condition="""
            (e.outcome_status IS NULL OR e.outcome_status::text = 'pending')
            -- One that was closed without an outcome waits for none.
            AND e.resolved_at IS NULL
            AND coalesce(e.review_at, e.created_at, to_timestamp(0)) < now() - interval '90 days'
        """,
        shown="e.task_context",
        indexed=True,
    ),
    RowCheck(
        kind="facts_stale",
        table="semantic_memory",
        condition="e.updated_at < now() - interval '365 days' AND " + _HOLDS,
        shown=_FACT,
        indexed=True,
    ),
    RowCheck(
        kind="facts_expired",
        table="semantic_memory",
        condition="""
            e.valid_to <= now()
            AND e.superseded_by IS NULL
            -- That nothing follows this end may have been noted.
            AND (e.metadata #>> '{repaired,facts_expired,ended_s}')
                IS DISTINCT FROM extract(epoch FROM e.valid_to)::text
        """,
        shown=_FACT,
        indexed=False,
    ),
    RowCheck(
        kind="vectors_missing",
        table="episodic_memory",
        condition="e.embedding IS NULL",
        shown=_EPISODE,
        indexed=True,
    ),
    RowCheck(
        kind="vectors_missing",
        table="semantic_memory",
        condition="e.embedding IS NULL",
        shown=_FACT,
        indexed=True,
    ),
    *(
        RowCheck(
            kind="vectors_other_model",
            table=table,
            condition="e.embedding IS NOT NULL AND e.embedding_model IS DISTINCT FROM %(model)s",
            shown=shown,
            indexed=False,
        )
        for table, shown in _WITH_VECTORS
    ),
    *(
        RowCheck(
            kind="vectors_dimensions",
            table=table,
            condition="e.embedding_model = %(model)s "
            "AND vector_dims(e.embedding) <> %(dimensions)s",
            shown=shown,
            indexed=False,
        )
        for table, shown in _WITH_VECTORS
    ),
    RowCheck(
        kind="future_timestamps",
        table="episodic_memory",
        condition="e.timestamp > now() + interval '1 day'",
        shown=_EPISODE,
        indexed=True,
    ),
)


def checks_of(kind: str) -> list[RowCheck]:
    """Return the conditions of a check; none for one that is no condition on rows."""
    return [check for check in ROW_CHECKS if check.kind == kind]
