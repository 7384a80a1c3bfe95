"""SQL that reads facts as they were believed in the past.

A fact was then what its first later step kept of it; one without a later step is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import fetch_all
from aegis.memory.models import Fact
from aegis.memory.store.fact_search import SMALL
from aegis.memory.store.facts import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "BELIEVED",
    "FIRST_STEPS",
    "REWORDED",
    "THEN",
    "THEN_FOUND",
    "VALID",
    "count_believed",
    "get_past",
    "list_past",
]

#: When a fact was recorded, as `idx_semantic_recorded` has it.
_RECORDED: LiteralString = "coalesce(f.created_at, f.updated_at, to_timestamp(0))"
BELIEVED: LiteralString = _RECORDED + " <= %(as_of)s"
#: Holds at `valid_at`, which is now if None.
VALID: LiteralString = """
    (f.valid_from IS NULL OR f.valid_from <= coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.valid_to IS NULL OR f.valid_to > coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.expires_at IS NULL OR f.expires_at > now())
"""
#: Steps that may have changed the words or the vector, as the indexes of `fact_history` have it.
REWORDED: LiteralString = "h.action IN ('updated', 'restored', 'deleted')"

#: Facts without a later step, which are as they were.
_UNCHANGED: LiteralString = """
    SELECT c.*
    FROM semantic_memory c
    WHERE c.namespace = %(namespace)s
      AND coalesce(c.created_at, c.updated_at, to_timestamp(0)) <= %(as_of)s
      AND NOT EXISTS (
          SELECT FROM fact_history h
          WHERE h.fact_id = c.id
            AND h.at > %(as_of)s
      )
"""
#: What facts `x (id)` with a later step were.
_CHANGED: LiteralString = """
    CROSS JOIN LATERAL (
        SELECT h.before
        FROM fact_history h
        WHERE h.fact_id = x.id
          AND h.at > %(as_of)s
        ORDER BY h.id
        LIMIT 1
    ) AS later
    CROSS JOIN LATERAL jsonb_populate_record(NULL::semantic_memory, later.before) AS was
    WHERE later.before IS NOT NULL
"""
#: The first later step of each fact that was there then, told by `idx_fact_history_steps` alone.
FIRST_STEPS: LiteralString = """
    SELECT h.fact_id AS id,
           min(h.id) AS step,
           bool_or(h.action IN ('updated', 'restored', 'deleted')) AS reworded
    FROM fact_history h
    WHERE h.namespace = %(namespace)s
      AND h.at > %(as_of)s
    GROUP BY h.fact_id
    HAVING min(h.id) IS DISTINCT FROM min(h.id) FILTER (WHERE h.action = 'created')
"""
_ALL_CHANGED: LiteralString = (
    "SELECT was.* FROM ("
    + FIRST_STEPS
    + """) AS x
    CROSS JOIN LATERAL (
        SELECT h.before
        FROM fact_history h
        WHERE h.id = x.step
        OFFSET 0
    ) AS later
    CROSS JOIN LATERAL jsonb_populate_record(NULL::semantic_memory, """
)
_AS_WAS: LiteralString = ") AS was WHERE later.before IS NOT NULL\n"
#: Every fact of a namespace as it was.
THEN: LiteralString = (
    "FROM (" + _UNCHANGED + "UNION ALL " + _ALL_CHANGED + "later.before" + _AS_WAS + ") AS f\n"
)
#: Facts of `found (id)` as they were.
THEN_FOUND: LiteralString = (
    "FROM ("
    + _UNCHANGED
    + "AND c.id IN (SELECT id FROM found) UNION ALL SELECT was.* FROM found AS x"
    + _CHANGED
    + ") AS f\n"
)


async def count_believed(conn: Connection, *, namespace: str, as_of: datetime, facts: int) -> int:
    """Return how many of a namespace's `facts` were recorded by then.

    Counted up to one more than `SMALL`, which reads each; beyond that as the planner believes.
    """
    cursor = await conn.execute(
        """
        SELECT (
                   SELECT count(*)
                   FROM (
                       SELECT 1
                       FROM semantic_memory f
                       WHERE f.namespace = %(namespace)s
                         AND
        """
        + BELIEVED
        + """
                       -- An order that the index has.
                       ORDER BY
        """
        + _RECORDED
        + """
                       LIMIT %(bound)s
                   ) AS bounded
               ),
               (
                   SELECT width_bucket(
                              %(as_of)s::timestamptz, s.histogram_bounds::text::timestamptz[]
                          )::float8 / cardinality(s.histogram_bounds::text::timestamptz[])
                   FROM pg_stats s
                   WHERE s.schemaname = current_schema()
                     AND s.tablename = 'idx_semantic_recorded'
                     AND s.attname = 'coalesce'
               )
        """,
        {"namespace": namespace, "as_of": as_of, "bound": SMALL + 1},
    )
    row: Any = await cursor.fetchone()
    if row[0] <= SMALL:
        return row[0]
    return max(row[0], round(facts * (1.0 if row[1] is None else row[1])))


async def get_past(
    conn: Connection, ids: Sequence[int], *, namespace: str, as_of: datetime
) -> list[Fact]:
    """Return the namespace's facts of these ids as they were, in no order."""
    return await fetch_all(
        conn,
        Fact,
        "WITH found AS MATERIALIZED (SELECT unnest(%(ids)s::int[]) AS id) SELECT "
        + COLUMNS
        + THEN_FOUND
        + "WHERE f.namespace = %(namespace)s",
        {"ids": list(ids), "namespace": namespace, "as_of": as_of},
    )


#: Facts that had a concept: those that have it, and those of which a step kept that they did.
_OF_CONCEPT: LiteralString = """
    WITH found AS MATERIALIZED (
        SELECT f.id
        FROM semantic_memory f
        WHERE f.namespace = %(namespace)s
          AND f.concept = %(concept)s
        UNION
        SELECT h.fact_id
        FROM fact_history h
        WHERE h.namespace = %(namespace)s
          AND h.before ->> 'concept' = %(concept)s
          AND h.at > %(as_of)s
          AND
"""
_MATCHING: LiteralString = (
    "f.namespace = %(namespace)s AND "
    + BELIEVED
    + " AND "
    + VALID
    + """
      AND (%(concept)s::text IS NULL OR f.concept = %(concept)s)
      AND (%(category)s::text IS NULL OR f.category = %(category)s)
      AND (%(tags)s::text[] IS NULL OR f.tags @> %(tags)s::text[])
    """
)
_ORDER: LiteralString = "ORDER BY f.updated_at DESC NULLS LAST, f.id DESC\n"


async def list_past(
    conn: Connection,
    *,
    namespace: str,
    concept: str | None,
    category: str | None,
    tags: Sequence[str],
    limit: int,
    offset: int,
    as_of: datetime,
    valid_at: datetime | None,
) -> list[Fact]:
    """Return facts as they were, those last updated by then first."""
    params: dict[str, Any] = {
        "namespace": namespace,
        "concept": concept,
        "category": category,
        "tags": list(tags) or None,
        "limit": limit,
        "offset": offset,
        "as_of": as_of,
        "valid_at": valid_at,
        "most": limit + offset,
    }
    if concept is not None:
        return await fetch_all(
            conn,
            Fact,
            _OF_CONCEPT + REWORDED + ") SELECT " + COLUMNS + THEN_FOUND + "WHERE "
            + _MATCHING + _ORDER + "LIMIT %(limit)s OFFSET %(offset)s",
            params,
        )  # fmt: skip
    # Each part in its own order, so that an index gives the first of the larger one; vectors are
    # read of the page alone.
    return await fetch_all(
        conn,
        Fact,
        "WITH found AS MATERIALIZED (SELECT p.id FROM ((SELECT f.id, f.updated_at FROM ("
        + _UNCHANGED + ") AS f WHERE " + _MATCHING + _ORDER + "LIMIT %(most)s) UNION ALL "
        + "(SELECT f.id, f.updated_at FROM (" + _ALL_CHANGED + "later.before - 'embedding'"
        + _AS_WAS + ") AS f WHERE " + _MATCHING + _ORDER + "LIMIT %(most)s)) AS p "
        + "ORDER BY p.updated_at DESC NULLS LAST, p.id DESC LIMIT %(limit)s OFFSET %(offset)s) "
        + "SELECT " + COLUMNS + THEN_FOUND + "WHERE f.namespace = %(namespace)s " + _ORDER,
        params,
    )  # fmt: skip
