"""SQL over `memory_proposals`."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString, cast

from aegis.db import execute, fetch_all, fetch_one, fetch_value
from aegis.memory.consolidation.proposal import Proposal, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.consolidation.proposal import Draft, State

__all__ = [
    "add_episode_sources",
    "decide",
    "get_proposal",
    "grow_proposal",
    "insert_proposal",
    "list_overlapping",
    "list_proposals",
    "list_steps_since",
    "note_sources",
    "read_clock",
    "read_steps",
]

#: More ids are counted, not kept: the newest stay.
_MOST_SOURCES = 1_000

_COLUMNS: LiteralString = """
    p.id,
    p.namespace,
    p.kind,
    p.concept,
    p.content,
    p.sources,
    p.seen,
    p.first_at,
    p.last_at,
    p.score,
    p.method,
    p.state,
    p.fact_id,
    p.created_at,
    p.decided_at,
    p.decided_by
"""


async def insert_proposal(
    conn: Connection, draft: Draft, *, namespace: str, seen: int
) -> int | None:
    """Insert a proposal and return its id; None where its evidence has one already."""
    return await fetch_value(
        conn,
        """
        INSERT INTO memory_proposals (
            namespace, kind, concept, content, sources, seen, first_at, last_at, score, method,
            digest
        )
        VALUES (
            %(namespace)s, %(kind)s, %(concept)s, %(content)s, %(sources)s, %(seen)s,
            %(first_at)s, %(last_at)s, %(score)s, %(method)s, %(digest)s
        )
        ON CONFLICT (namespace, kind, digest) DO NOTHING
        RETURNING id
        """,
        _params(draft, seen) | {"namespace": namespace},
    )


async def grow_proposal(conn: Connection, proposal_id: int, draft: Draft, *, seen: int) -> int:
    """Give a proposal that still waits more evidence and return how many rows changed (0 or 1)."""
    return await execute(
        conn,
        """
        UPDATE memory_proposals
        SET content = %(content)s,
            sources = %(sources)s,
            seen = %(seen)s,
            first_at = least(first_at, %(first_at)s),
            last_at = greatest(last_at, %(last_at)s),
            score = greatest(score, %(score)s),
            method = %(method)s,
            digest = %(digest)s
        WHERE id = %(id)s
          AND state = 'proposed'
          -- What was decided about the very same evidence stays decided.
          AND NOT EXISTS (
              SELECT
              FROM memory_proposals o
              WHERE o.namespace = memory_proposals.namespace
                AND o.kind = memory_proposals.kind
                AND o.digest = %(digest)s
                AND o.id <> %(id)s
          )
        """,
        _params(draft, seen) | {"id": proposal_id},
    )


async def note_sources(conn: Connection, proposal_id: int, sources: Sequence[int]) -> None:
    """Keep what else speaks for a proposal that is decided; what it said then stays."""
    await execute(
        conn,
        """
        UPDATE memory_proposals
        SET sources = %(sources)s
        WHERE id = %(id)s
          AND state <> 'proposed'
        """,
        {"id": proposal_id, "sources": list(sources[-_MOST_SOURCES:])},
    )


async def list_overlapping(
    conn: Connection, namespace: str, sources: Sequence[int]
) -> list[Proposal]:
    """Return proposals that share evidence with these episodes; locked until the transaction ends.

    Runs of a namespace exclude one another; this keeps deciding out.
    """
    return await fetch_all(
        conn,
        Proposal,
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_proposals p
        WHERE p.sources && %(sources)s::int[]
          AND p.namespace = %(namespace)s
        ORDER BY p.id
        FOR UPDATE
        """,
        {"namespace": namespace, "sources": list(sources)},
    )


async def list_proposals(
    conn: Connection, *, namespace: str, state: State | None, limit: int, after: int
) -> list[Proposal]:
    """Return proposals by id."""
    return await fetch_all(
        conn,
        Proposal,
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_proposals p
        WHERE p.namespace = %(namespace)s
          AND (%(state)s::text IS NULL OR p.state = %(state)s)
          AND p.id > %(after)s
        ORDER BY p.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "state": state, "limit": limit, "after": after},
    )


async def get_proposal(
    conn: Connection, proposal_id: int, *, namespace: str, lock: bool = False
) -> Proposal:
    """Return a proposal (`NotFound`); `lock` keeps it as it is until the transaction ends."""
    statement: LiteralString = (
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_proposals p
        WHERE p.id = %(id)s
          AND p.namespace = %(namespace)s
        """
    )
    return await fetch_one(
        conn,
        Proposal,
        statement + " FOR UPDATE" if lock else statement,
        {"id": proposal_id, "namespace": namespace},
        missing=f"There is no proposal {proposal_id} in namespace {namespace!r}.",
    )


async def decide(
    conn: Connection,
    proposal_id: int,
    state: State,
    *,
    actor: str | None,
    fact_id: int | None,
    steps: Sequence[int],
) -> Proposal:
    """Set what became of a proposal and return it."""
    return await fetch_one(
        conn,
        Proposal,
        """
        UPDATE memory_proposals AS p
        SET state = %(state)s,
            seen = greatest(p.seen, cardinality(p.sources)),
            fact_id = %(fact_id)s,
            steps = %(steps)s,
            decided_at = clock_timestamp(),
            decided_by = %(actor)s
        WHERE p.id = %(id)s
        RETURNING
        """
        + _COLUMNS,
        {
            "id": proposal_id,
            "state": state,
            "actor": actor,
            "fact_id": fact_id,
            "steps": list(steps),
        },
        missing=f"Proposal {proposal_id} was deleted meanwhile.",
    )


async def read_clock(conn: Connection) -> datetime:
    """Return the time now, by the database's clock."""
    return cast("datetime", await fetch_value(conn, "SELECT clock_timestamp()"))


async def list_steps_since(conn: Connection, namespace: str, at: datetime) -> list[tuple[int, int]]:
    """Return (step, fact) of the steps that this transaction has made since a time, in order."""
    cursor = await conn.execute(
        """
        SELECT h.id, h.fact_id
        FROM fact_history h
        WHERE h.namespace = %(namespace)s
          AND h.at >= %(at)s
          AND h.xmin = pg_current_xact_id()::xid
        ORDER BY h.id
        """,
        {"namespace": namespace, "at": at},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def read_steps(conn: Connection, proposal_id: int) -> list[tuple[int, int, str]]:
    """Return (step, fact, action) of what accepting a proposal did, the last one first."""
    cursor = await conn.execute(
        """
        SELECT h.id, h.fact_id, h.action
        FROM memory_proposals p
        CROSS JOIN LATERAL unnest(p.steps) AS s (id)
        JOIN fact_history h ON h.id = s.id
        WHERE p.id = %(id)s
        ORDER BY h.id DESC
        """,
        {"id": proposal_id},
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def add_episode_sources(
    conn: Connection,
    fact_id: int,
    ids: Sequence[int],
    *,
    namespace: str,
    source: str,
    confidence: float,
    step: int,
) -> int:
    """Keep the episodes that say a fact as sources of it, in their own words; return how many."""
    return await execute(
        conn,
        """
        INSERT INTO fact_sources (
            fact_id, namespace, source, source_id, content, confidence, recorded_at, step
        )
        SELECT
            %(fact_id)s,
            %(namespace)s,
            %(source)s,
            'episode:' || e.id,
            left(e.summary, 1000),
            %(confidence)s,
            clock_timestamp(),
            %(step)s
        FROM episodic_memory e
        WHERE e.id = ANY(%(ids)s::int[])
          AND e.namespace = %(namespace)s
        ORDER BY e.id
        """,
        {
            "fact_id": fact_id,
            "namespace": namespace,
            "ids": list(ids),
            "source": source,
            "confidence": confidence,
            "step": step,
        },
    )


def _params(draft: Draft, seen: int) -> dict[str, object]:
    return {
        "kind": draft.kind,
        "concept": draft.concept,
        "content": draft.content,
        "sources": list(draft.sources[-_MOST_SOURCES:]),
        "seen": seen,
        "first_at": draft.first_at,
        "last_at": draft.last_at,
        "score": draft.score,
        "method": draft.method,
        "digest": digest_of(draft.kind, draft.sources),
    }
