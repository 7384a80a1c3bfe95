"""SQL over `fact_history`, and what a step does to `semantic_memory`.

Whoever changes a fact holds the lock of its concept (`lock_concept`, `lock_fact`), so that the
steps of a fact have numbers and times in one order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString, cast

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.errors import NotFound
from aegis.memory.belief import MAX_STATEMENT, Belief
from aegis.memory.models import Fact, FactStep
from aegis.memory.store.facts import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.belief import Shift
    from aegis.memory.models import FactAction

__all__ = [
    "add_step",
    "list_beliefs",
    "list_steps",
    "lock_concept",
    "lock_fact",
    "lock_facts",
    "put_back",
    "put_back_deleted",
    "set_merged",
    "shift_fact",
]

#: How many facts of one concept a new one is held against: the same text, then the most alike.
_MOST_COMPARED = 500

# The key of a concept, as `idx_semantic_concept_key` has it.
_KEY: LiteralString = r"lower(regexp_replace(btrim(f.concept), '\s+', ' ', 'g'))"
_KEY_OF_NEW: LiteralString = r"lower(regexp_replace(btrim(%(concept)s::text), '\s+', ' ', 'g'))"


async def lock_concept(
    conn: Connection, namespace: str, concept: str, source_id: str | None
) -> datetime:
    """Wait for other changes of the concept's facts and return the time after that.

    With a `source_id`, that of this name too, which may stand at another concept.
    """
    if source_id is not None:
        await conn.execute(
            """
            SELECT pg_advisory_xact_lock(
                hashtextextended('aegis.fact.source ' || %(namespace)s || E'\\x01' || %(key)s, 0)
            )
            """,
            {"namespace": namespace, "key": source_id},
        )
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock(
            hashtextextended('aegis.fact ' || %(namespace)s || E'\\x01' ||
        """
        + _KEY_OF_NEW
        + ", 0))",
        {"namespace": namespace, "concept": concept},
    )
    return cast("datetime", await fetch_value(conn, "SELECT clock_timestamp()"))


async def lock_fact(conn: Connection, fact_id: int, *, namespace: str) -> datetime:
    """Wait for other changes of a fact and its concept and return the time after that.

    Raises:
        NotFound: the namespace never had a fact of this id.
    """
    concept = await fetch_value(
        conn,
        """
        SELECT f.concept
        FROM semantic_memory f
        WHERE f.id = %(id)s
          AND f.namespace = %(namespace)s
        UNION ALL
        -- A deleted fact has its concept in its last step.
        (SELECT h.before ->> 'concept'
        FROM fact_history h
        WHERE h.fact_id = %(id)s
          AND h.namespace = %(namespace)s
          AND h.action = 'deleted'
        ORDER BY h.id DESC
        LIMIT 1)
        LIMIT 1
        """,
        {"id": fact_id, "namespace": namespace},
    )
    if concept is None:
        raise NotFound(f"There is no fact {fact_id} in namespace {namespace!r}.")
    return await lock_concept(conn, namespace, concept, None)


async def lock_facts(conn: Connection, ids: Sequence[int]) -> datetime:
    """Wait for other changes of these facts' concepts and return the time after that.

    The locks are taken in one order, so that two that lock many do not wait for each other.
    """
    await conn.execute(
        """
        WITH keys AS MATERIALIZED (
            SELECT DISTINCT hashtextextended(
                'aegis.fact ' || f.namespace || E'\\x01' ||
        """
        + _KEY
        + """, 0) AS key
            FROM semantic_memory f
            WHERE f.id = ANY(%(ids)s::int[])
            ORDER BY key
        )
        SELECT pg_advisory_xact_lock(key)
        FROM keys
        """,
        {"ids": list(ids)},
    )
    return cast("datetime", await fetch_value(conn, "SELECT clock_timestamp()"))


async def list_beliefs(
    conn: Connection,
    *,
    namespace: str,
    concept: str,
    content: str,
    vector: str | None,
    embedding_model: str | None,
) -> list[Belief]:
    """Return the facts about a concept, whatever its case and blanks, the most alike first."""
    return await fetch_all(
        conn,
        Belief,
        """
        SELECT
            f.id,
            f.content,
            f.valid_from,
            f.valid_to,
            coalesce(f.created_at, f.updated_at, 'epoch') AS recorded_at,
            CASE
                WHEN f.embedding_model = %(model)s::text
                THEN (1 - (f.embedding <=> %(vector)s::vector))::float8
                -- While the model is changed its vector may still be beside the row.
                ELSE (
                    SELECT (1 - (v.embedding <=> %(vector)s::vector))::float8
                    FROM semantic_vectors v
                    WHERE v.id = f.id
                      AND v.model = %(model)s::text
                )
            END AS similarity
        FROM semantic_memory f
        WHERE f.namespace = %(namespace)s
          AND
        """
        + _KEY
        + " = "
        + _KEY_OF_NEW
        + """
          AND (length(f.content) <= %(longest)s
               OR lower(btrim(f.content)) = lower(btrim(%(content)s::text)))
        ORDER BY
            lower(btrim(f.content)) = lower(btrim(%(content)s::text)) DESC,
            similarity DESC NULLS LAST,
            f.id
        LIMIT %(most)s
        """,
        {
            "namespace": namespace,
            "concept": concept,
            "content": content,
            "vector": vector,
            "model": embedding_model,
            "longest": MAX_STATEMENT,
            "most": _MOST_COMPARED,
        },
    )


async def add_step(
    conn: Connection,
    fact_id: int,
    action: FactAction,
    *,
    namespace: str,
    at: datetime,
    actor: str | None,
    undoes: int | None = None,
) -> int:
    """Write a step, with the row as it is now for what was before, and return its number."""
    step = await fetch_value(
        conn,
        """
        WITH row_before AS (
            SELECT to_jsonb(f) AS before
            FROM semantic_memory f
            WHERE f.id = %(id)s
              AND f.namespace = %(namespace)s
              AND %(action)s <> 'created'
            FOR UPDATE
        ),
        sources_before AS (
            -- A deleted fact takes its sources along; other steps only add some.
            SELECT jsonb_build_object('sources', jsonb_agg(to_jsonb(s) ORDER BY s.id)) AS sources
            FROM fact_sources s
            WHERE s.fact_id = %(id)s
              AND %(action)s = 'deleted'
        )
        INSERT INTO fact_history (fact_id, namespace, action, before, at, actor, undoes)
        SELECT
            %(id)s,
            %(namespace)s,
            %(action)s,
            (
                SELECT CASE WHEN %(action)s = 'deleted' THEN before || sources ELSE before END
                FROM row_before, sources_before
            ),
            %(at)s,
            %(actor)s,
            %(undoes)s
        RETURNING id
        """,
        {
            "id": fact_id,
            "namespace": namespace,
            "action": action,
            "at": at,
            "actor": actor,
            "undoes": undoes,
        },
    )
    return cast("int", step)


async def shift_fact(
    conn: Connection, shift: Shift, *, superseded_by: int | None, at: datetime
) -> None:
    """Give a fact its new times; `superseded_by` of None leaves that as it is."""
    await execute(
        conn,
        """
        UPDATE semantic_memory
        SET valid_from = %(valid_from)s,
            valid_to = %(valid_to)s,
            superseded_by = coalesce(%(superseded_by)s, superseded_by),
            updated_at = %(at)s
        WHERE id = %(id)s
        """,
        {
            "id": shift.id,
            "valid_from": shift.valid_from,
            "valid_to": shift.valid_to,
            "superseded_by": superseded_by,
            "at": at,
        },
    )


async def set_merged(
    conn: Connection,
    fact_id: int,
    *,
    confidence: float,
    valid_from: datetime | None,
    at: datetime,
) -> Fact:
    """Set what a further source changes of a fact and return it."""
    return await fetch_one(
        conn,
        Fact,
        """
        UPDATE semantic_memory AS f
        SET confidence = %(confidence)s,
            valid_from = %(valid_from)s,
            updated_at = %(at)s
        WHERE f.id = %(id)s
        RETURNING
        """
        + COLUMNS,
        {"id": fact_id, "confidence": confidence, "valid_from": valid_from, "at": at},
        missing=f"Fact {fact_id} was deleted meanwhile. Try again.",
    )


async def list_steps(
    conn: Connection, fact_id: int, *, namespace: str, limit: int | None = None
) -> Sequence[FactStep]:
    """Return the steps of a fact, the last one first."""
    return await fetch_all(
        conn,
        FactStep,
        """
        SELECT
            id,
            fact_id,
            namespace,
            action,
            before - 'embedding' AS before,
            at,
            actor,
            undoes
        FROM fact_history
        WHERE fact_id = %(id)s
          AND namespace = %(namespace)s
        ORDER BY id DESC
        LIMIT %(limit)s
        """,
        {"id": fact_id, "namespace": namespace, "limit": limit},
    )


async def put_back(conn: Connection, step: int) -> Fact | None:
    """Make a fact that is there what it was before a step; None if it is not there."""
    return await fetch_optional(
        conn,
        Fact,
        """
        UPDATE semantic_memory AS f
        SET concept = was.concept,
            content = was.content,
            category = was.category,
            source = was.source,
            confidence = was.confidence,
            metadata = was.metadata,
            tags = was.tags,
            -- A model that is no longer used is not brought back: the backfill makes a new vector.
            embedding = CASE WHEN retired.model IS NULL THEN was.embedding END,
            embedding_model = CASE WHEN retired.model IS NULL THEN was.embedding_model END,
            created_at = was.created_at,
            updated_at = was.updated_at,
            valid_from = was.valid_from,
            valid_to = was.valid_to,
            superseded_by = was.superseded_by,
            expires_at = was.expires_at
        FROM fact_history h
        CROSS JOIN LATERAL jsonb_populate_record(NULL::semantic_memory, h.before) AS was
        LEFT JOIN embedding_models retired
            ON retired.model = was.embedding_model
           AND retired.state = 'retired'
        WHERE h.id = %(step)s
          AND f.id = h.fact_id
        RETURNING
        """
        + COLUMNS,
        {"step": step},
    )


async def put_back_deleted(conn: Connection, step: int) -> Fact | None:
    """Insert a deleted fact with its sources again; None if its id or `source_id` is taken."""
    fact = await fetch_optional(
        conn,
        Fact,
        """
        INSERT INTO semantic_memory AS f
        SELECT was.*
        FROM fact_history h
        LEFT JOIN embedding_models retired
            ON retired.model = h.before ->> 'embedding_model'
           AND retired.state = 'retired'
        CROSS JOIN LATERAL jsonb_populate_record(
            NULL::semantic_memory,
            CASE WHEN retired.model IS NULL THEN h.before
                 ELSE h.before - 'embedding' - 'embedding_model'
            END
        ) AS was
        WHERE h.id = %(step)s
        ON CONFLICT DO NOTHING
        RETURNING
        """
        + COLUMNS,
        {"step": step},
    )
    if fact is not None:
        await execute(
            conn,
            """
            INSERT INTO fact_sources
            SELECT source.*
            FROM fact_history h
            CROSS JOIN LATERAL jsonb_populate_recordset(
                NULL::fact_sources, nullif(h.before -> 'sources', 'null')
            ) AS source
            WHERE h.id = %(step)s
            """,
            {"step": step},
        )
    return fact
