"""SQL over `memory_namespaces` and `memory_terms`: how common words are in large namespaces.

Nothing but recall reads these tables, and a namespace without rows in them is found all the same.
They are a sample that is replaced as a whole, outside of writers' transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["analyze_episodes", "list_shares", "sample_namespace"]

#: Episodes that a sample holds, about, and how many of them must hold a word to be listed.
_SAMPLE, _LEAST = 3_000, 3
#: Larger namespaces are found by the graph, unless they are next to nothing in their table.
_SKETCHED = 100_000


async def list_shares(conn: Connection, namespace: str, terms: Sequence[str]) -> dict[str, float]:
    """Return the share of episodes that hold each of these terms, where that is known."""
    cursor = await conn.execute(
        """
        SELECT t.term, t.share
        FROM memory_terms t
        WHERE t.namespace = %(namespace)s
          AND t.term = ANY(%(terms)s::text[])
        """,
        {"namespace": namespace, "terms": list(terms)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def sample_namespace(conn: Connection, namespace: str, *, small: int) -> bool:
    """Sample a namespace of more than `small` episodes; forget what was known of a smaller one.

    Returns False, having done nothing, while another process samples the same namespace.
    """
    params: dict[str, Any] = {"namespace": namespace}
    locked = await fetch_value(
        conn,
        "SELECT pg_try_advisory_xact_lock(hashtext('memory_namespaces'), hashtext(%(namespace)s))",
        params,
    )
    if not locked:
        return False
    episodes = await fetch_value(
        conn, "SELECT count(*) FROM episodic_memory WHERE namespace = %(namespace)s", params
    )
    await execute(conn, "DELETE FROM memory_terms WHERE namespace = %(namespace)s", params)
    if episodes <= small:
        await execute(conn, "DELETE FROM memory_namespaces WHERE namespace = %(namespace)s", params)
        return True
    await _insert(conn, params | {"episodes": episodes})
    if episodes <= _SKETCHED:
        await _sketch(conn, params)
    await _analyze_if_new(conn, episodes)
    return True


async def _sketch(conn: Connection, params: dict[str, Any]) -> None:
    """Make the sketches that are missing: triggers do not fire for whoever puts tables back."""
    await execute(
        conn,
        """
        INSERT INTO episodic_sketches (id, namespace, model, signs)
        SELECT e.id, e.namespace, e.embedding_model, aegis_signs(e.embedding)
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.embedding IS NOT NULL
          AND e.embedding_model IS NOT NULL
          AND NOT EXISTS (SELECT FROM episodic_sketches s WHERE s.id = e.id)
        -- A row that goes meanwhile takes its sketch along.
        FOR KEY SHARE OF e
        ON CONFLICT (id) DO NOTHING
        """,
        params,
    )


async def analyze_episodes(conn: Connection) -> None:
    """Have the planner's statistics of the columns that searches filter by made anew.

    A login that may not do that is warned by the server, and nothing is changed.
    """
    await execute(
        conn,
        """
        ANALYZE episodic_memory (
            namespace, session_id, timestamp, event_type, importance, tags, embedding_model
        )
        """,
    )


async def _analyze_if_new(conn: Connection, episodes: int) -> None:
    """Tell the planner about a table that was filled a moment ago, before autovacuum does.

    Without it a large namespace counts as a small one, and is scanned.
    """
    believed = await fetch_value(
        conn, "SELECT reltuples FROM pg_class WHERE oid = 'episodic_memory'::regclass"
    )
    if believed * 2 < episodes:
        await analyze_episodes(conn)


async def _insert(conn: Connection, params: dict[str, Any]) -> None:
    await execute(
        conn,
        """
        WITH sample AS MATERIALIZED (
            -- By hash of the id: the index alone tells which rows, and old and new are alike.
            SELECT e.search
            FROM episodic_memory e
            WHERE e.namespace = %(namespace)s
              AND (e.metadata ? 'echo_of') IS NOT TRUE
              AND abs(hashint4(e.id)::bigint) %% greatest(1, %(episodes)s / %(sample)s) = 0
        ),
        size AS MATERIALIZED (
            SELECT greatest(count(*), 1) AS rows,
                   coalesce(avg(length(search)) - 1, 1) AS mean_terms
            FROM sample
        ),
        terms AS (
            INSERT INTO memory_terms (namespace, term, share)
            SELECT %(namespace)s, t.lexeme, count(*)::real / min(size.rows)
            FROM sample
            CROSS JOIN size
            CROSS JOIN LATERAL unnest(sample.search) AS t
            WHERE t.lexeme NOT LIKE E'\\x01%%'
            GROUP BY t.lexeme
            HAVING count(*) >= %(least)s
        )
        INSERT INTO memory_namespaces (namespace, episodes, mean_terms, refreshed_at)
        SELECT %(namespace)s, %(episodes)s, size.mean_terms, now()
        FROM size
        ON CONFLICT (namespace) DO UPDATE
        SET episodes = excluded.episodes,
            mean_terms = excluded.mean_terms,
            refreshed_at = excluded.refreshed_at
        """,
        params | {"sample": _SAMPLE, "least": _LEAST},
    )
