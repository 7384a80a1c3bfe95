"""SQL of what the audit repairs about facts: what is wrong with each, and many changed at once.

Whoever calls holds the locks of the facts' concepts (`fact_history.lock_facts`). What was there
before is a step of `fact_history`, as of any change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from aegis.db import execute, fetch_all
from aegis.memory.store.audit_checks import ALIVE, UNFOLLOWED, UNSAID
from aegis.memory.store.search import lexeme_query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import FactAction
    from aegis.memory.store.audit_checks import RowCheck

__all__ = [
    "Broken",
    "Mended",
    "add_steps",
    "change_facts",
    "list_followers",
    "list_sayings",
    "list_trails",
    "lock_broken",
    "lock_unreferenced",
]

#: Successors of successors that are gone; episodes that may say a fact.
_MOST_STEPS, _MOST_SAYINGS = 50, 20
_MOST_WORDS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A fact that a check finds, with what about it is wrong."""

    id: int
    namespace: str
    concept: str
    content: str
    superseded_by: int | None
    #: The fact that it names as its successor is gone.
    unfollowed: bool
    #: It was made of episodes, and none of them is left.
    unsaid: bool
    #: 0 to 1.
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What a fact becomes."""

    id: int
    superseded_by: int | None
    #: What its confidence is multiplied with.
    factor: float = 1.0
    #: The episodes that it rests on from now on; None leaves what it names.
    episodes: Sequence[int] | None = None
    #: Whether those that it names are gone; they are noted as such.
    unsaid: bool = False


async def lock_broken(
    conn: Connection, check: RowCheck, ids: Sequence[int], *, lock: bool
) -> list[Broken]:
    """Return those of these facts that a check still finds, by id, locked if that is wanted."""
    statement = sql.SQL(
        """
        SELECT
            e.id,
            e.namespace,
            e.concept,
            e.content,
            e.superseded_by,
            {unfollowed} AS unfollowed,
            ({unsaid}) IS TRUE AS unsaid,
            coalesce(e.confidence, 1.0) AS confidence
        FROM semantic_memory e
        WHERE e.id = ANY(%(ids)s::int[])
          AND ({condition})
          AND {alive}
        ORDER BY e.id
        {lock}
        """
    ).format(
        unfollowed=sql.SQL(UNFOLLOWED),
        unsaid=sql.SQL(UNSAID),
        condition=sql.SQL(check.condition),
        alive=sql.SQL(ALIVE),
        lock=sql.SQL("FOR UPDATE OF e" if lock else ""),
    )
    return await fetch_all(conn, Broken, statement, {"ids": list(ids)})


async def lock_unreferenced(
    conn: Connection, check: RowCheck, namespace: str, *, limit: int
) -> list[int]:
    """Lock facts that a check finds and that no other fact names as its successor."""
    statement = sql.SQL(
        """
        SELECT e.id
        FROM semantic_memory e
        WHERE e.namespace = %(namespace)s
          AND ({condition})
          AND {alive}
          AND NOT EXISTS (SELECT FROM semantic_memory x WHERE x.superseded_by = e.id)
        ORDER BY e.id
        LIMIT %(limit)s
        FOR UPDATE OF e SKIP LOCKED
        """
    ).format(condition=sql.SQL(check.condition), alive=sql.SQL(ALIVE))
    cursor = await conn.execute(statement, {"namespace": namespace, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def list_followers(conn: Connection, ids: Sequence[int]) -> list[tuple[int, int, str]]:
    """Return (fact, id, content) of facts of the same concept that begin where a fact ends."""
    cursor = await conn.execute(
        r"""
        SELECT e.id, x.id, x.content
        FROM semantic_memory e
        JOIN semantic_memory x
            ON x.namespace = e.namespace
           AND lower(regexp_replace(btrim(x.concept), '\s+', ' ', 'g'))
               = lower(regexp_replace(btrim(e.concept), '\s+', ' ', 'g'))
           AND x.valid_from = e.valid_to
           AND x.id <> e.id
        WHERE e.id = ANY(%(ids)s::int[])
        ORDER BY e.id, x.id
        """,
        {"ids": list(ids)},
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def list_trails(conn: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return, by fact, what followed the successor that is gone, as its history has it."""
    cursor = await conn.execute(
        """
        WITH RECURSIVE trail AS (
            SELECT e.id AS fact, e.namespace, e.superseded_by AS named, 1 AS step
            FROM semantic_memory e
            WHERE e.id = ANY(%(ids)s::int[])
              AND e.superseded_by IS NOT NULL
            UNION ALL
            SELECT t.fact, t.namespace, gone.next, t.step + 1
            FROM trail t
            CROSS JOIN LATERAL (
                SELECT (h.before ->> 'superseded_by')::int AS next
                FROM fact_history h
                WHERE h.fact_id = t.named
                  AND h.action = 'deleted'
                ORDER BY h.id DESC
                LIMIT 1
            ) AS gone
            WHERE gone.next IS NOT NULL
              AND t.step < %(most)s
              AND NOT EXISTS (SELECT FROM semantic_memory x WHERE x.id = t.named)
        )
        SELECT t.fact, x.id
        FROM trail t
        JOIN semantic_memory x ON x.id = t.named AND x.namespace = t.namespace
        WHERE x.id <> t.fact
        """,
        {"ids": list(ids), "most": _MOST_STEPS},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def list_sayings(conn: Connection, namespace: str, content: str) -> list[tuple[int, str]]:
    """Return (id, summary) of the newest episodes that hold every word of a text."""
    cursor = await conn.execute(
        "SELECT lexeme FROM unnest(to_tsvector('english', left(%(content)s, 10000))) "
        "LIMIT %(most)s",
        {"content": content, "most": _MOST_WORDS},
    )
    words = [row[0] for row in await cursor.fetchall()]
    if not words:
        return []
    seek = " & ".join(map(lexeme_query, ["\x01" + namespace, *words]))
    cursor = await conn.execute(
        """
        SELECT e.id, e.summary
        FROM episodic_memory e
        WHERE e.search @@ %(seek)s::tsquery
          AND e.namespace = %(namespace)s
          AND (e.expires_at > now()) IS NOT FALSE
        ORDER BY e.id DESC
        LIMIT %(most)s
        """,
        {"seek": seek, "namespace": namespace, "most": _MOST_SAYINGS},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def add_steps(
    conn: Connection, ids: Sequence[int], action: FactAction, *, at: datetime, actor: str | None
) -> int:
    """Write one step of each of these facts, which are locked and stay; return how many."""
    return await execute(
        conn,
        """
        INSERT INTO fact_history (fact_id, namespace, action, before, at, actor)
        SELECT f.id, f.namespace, %(action)s, to_jsonb(f), %(at)s, %(actor)s
        FROM semantic_memory f
        WHERE f.id = ANY(%(ids)s::int[])
        ORDER BY f.id
        """,
        {"ids": list(ids), "action": action, "at": at, "actor": actor},
    )


async def change_facts(
    conn: Connection, mended: Sequence[Mended], *, kind: str, at: datetime
) -> int:
    """Make facts what they become, with a note in their metadata; return how many.

    Metadata that is no object is kept as the value of one.
    """
    return await execute(
        conn,
        """
        WITH wanted AS (
            SELECT *
            FROM unnest(
                %(ids)s::int[], %(successors)s::int[], %(factors)s::float8[],
                %(episodes)s::text[], %(unsaid)s::boolean[]
            ) AS w (id, superseded_by, factor, episodes, unsaid)
        ),
        old AS (
            SELECT e.id,
                   e.valid_to,
                   CASE
                       WHEN jsonb_typeof(e.metadata) = 'object' THEN e.metadata
                       WHEN e.metadata IS NULL THEN '{}'
                       ELSE jsonb_build_object('value', e.metadata)
                   END AS metadata,
                   jsonb_strip_nulls(jsonb_build_object(
                       'at', %(at)s::timestamptz,
                       'confidence', CASE WHEN w.factor < 1 THEN coalesce(e.confidence, 1.0) END,
                       'superseded_by', CASE
                           WHEN w.superseded_by IS DISTINCT FROM e.superseded_by
                           THEN e.superseded_by
                       END,
                       'episodes', CASE WHEN w.unsaid THEN e.metadata -> 'episodes' END,
                       'ended_s', CASE
                           WHEN w.superseded_by IS NULL
                           THEN extract(epoch FROM e.valid_to)::text
                       END
                   )) AS said
            FROM wanted w
            JOIN semantic_memory e ON e.id = w.id
        )
        UPDATE semantic_memory f
        SET superseded_by = w.superseded_by,
            confidence = CASE
                WHEN w.factor < 1 THEN coalesce(f.confidence, 1.0) * w.factor
                ELSE f.confidence
            END,
            metadata =
                CASE WHEN w.unsaid THEN o.metadata - 'episodes' ELSE o.metadata END
                || CASE
                    WHEN w.episodes IS NULL THEN '{}'
                    ELSE jsonb_build_object('episodes', w.episodes::jsonb)
                END
                || jsonb_build_object(
                    'repaired',
                    CASE
                        WHEN jsonb_typeof(o.metadata -> 'repaired') = 'object'
                        THEN o.metadata -> 'repaired'
                        ELSE '{}'
                    END || jsonb_build_object(%(kind)s::text, o.said)
                ),
            updated_at = %(at)s
        FROM wanted w
        JOIN old o ON o.id = w.id
        WHERE f.id = w.id
        """,
        {
            "ids": [m.id for m in mended],
            "successors": [m.superseded_by for m in mended],
            "factors": [m.factor for m in mended],
            "episodes": [None if m.episodes is None else str(list(m.episodes)) for m in mended],
            "unsaid": [m.unsaid for m in mended],
            "kind": kind,
            "at": at,
        },
    )
