"""SQL of the audit's checks: each counts up to a bound, and gives the first ids.

Each runs in a transaction of its own with a time limit (`limit_time`). A check without an index to
go by reads a sample of a large table's pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import fetch_all, fetch_value
from aegis.memory.audit.report import Example
from aegis.memory.audit.window import Seen
from aegis.memory.store.audit_checks import ALIVE, EXPIRING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.store.audit_checks import RowCheck

__all__ = [
    "MOST_COUNTED",
    "Claim",
    "count_episodes",
    "estimate_rows",
    "find_rows",
    "limit_time",
    "list_claims",
    "list_namespaces",
    "list_places",
    "list_stale_terms",
    "list_window",
    "read_believed_share",
    "read_bounds",
]

#: Rows that a check counts at most: more than these is as good as these.
MOST_COUNTED = 100_000
#: Facts of one concept, and facts in all, that are held against one another.
_MOST_RIVALS, _MOST_CLAIMS = 50, 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A fact that holds now, beside others of its concept."""

    id: int
    namespace: str
    concept: str
    #: What concepts are compared by.
    key: str
    content: str
    valid_from: datetime | None
    valid_to: datetime | None
    recorded_at: datetime


async def limit_time(conn: Connection, milliseconds: int) -> None:
    """Let no statement of the transaction take longer."""
    await fetch_value(
        conn,
        "SELECT set_config('statement_timeout', %(limit)s, true)",
        {"limit": str(milliseconds)},
    )


async def estimate_rows(conn: Connection, table: LiteralString) -> float:
    """Return how many rows a table has, as the planner believes."""
    return await fetch_value(
        conn,
        "SELECT greatest(reltuples, 0)::float8 FROM pg_class WHERE oid = %(table)s::regclass",
        {"table": table},
    )


async def count_episodes(conn: Connection, namespace: str | None) -> int:
    """Return how many episodes there are, counted."""
    if namespace is None:
        return await fetch_value(conn, "SELECT count(*) FROM episodic_memory")
    return await fetch_value(
        conn,
        "SELECT count(*) FROM episodic_memory e WHERE e.namespace = %(namespace)s",
        {"namespace": namespace},
    )


async def find_rows(
    conn: Connection,
    check: RowCheck,
    *,
    namespace: str | None,
    limit: int,
    model: str | None = None,
    dimensions: int | None = None,
    share: float = 1.0,
    after: int | None = None,
) -> tuple[int, list[int], list[Example]]:
    """Return how many rows a check finds, up to `limit`, their ids, and the first as examples.

    `share` below 1 reads that share of the table's pages. With `after` they are the next by id.
    """
    sampled = sql.SQL("TABLESAMPLE SYSTEM ({})").format(sql.Literal(round(share * 100, 4)))
    statement = sql.SQL(
        """
        WITH found AS MATERIALIZED (
            SELECT e.id, e.namespace, left({shown}, 400) AS shown
            FROM {table} AS e {sampled}
            WHERE ({condition})
              AND {inside}
              {alive}
              {next}
            LIMIT %(limit)s
        )
        SELECT f.id, f.namespace, f.shown
        FROM found f
        ORDER BY f.id
        """
    ).format(
        table=sql.Identifier(check.table),
        sampled=sampled if share < 1 else sql.SQL(""),
        condition=sql.SQL(check.condition),
        next=sql.SQL("" if after is None else "AND e.id > %(after)s ORDER BY e.id"),
        inside=sql.SQL("true" if namespace is None else "e.namespace = %(namespace)s"),
        shown=sql.SQL(check.shown),
        # What has expired goes with the next sweep: there is nothing to repair.
        alive=sql.SQL("AND " + ALIVE if check.table in EXPIRING else ""),
    )
    params: dict[str, Any] = {
        "namespace": namespace,
        "model": model,
        "dimensions": dimensions,
        "limit": limit,
        "after": after,
    }
    cursor = await conn.execute(statement, params, prepare=False)
    rows = await cursor.fetchall()
    examples = [
        Example(table=check.table, id=row[0], namespace=row[1], excerpt=row[2]) for row in rows[:5]
    ]
    return len(rows), [row[0] for row in rows], examples


async def read_bounds(conn: Connection) -> tuple[int, int]:
    """Return the least and the greatest id of episodes, (0, 0) without any."""
    cursor = await conn.execute("SELECT min(id), max(id) FROM episodic_memory")
    row: Any = await cursor.fetchone()
    return row[0] or 0, row[1] or 0


async def list_window(
    conn: Connection, *, namespace: str | None, after: int, limit: int
) -> list[Seen]:
    """Return the next episodes by id, as the audit reads them."""
    inside: LiteralString = "true" if namespace is None else "e.namespace = %(namespace)s"
    return await fetch_all(
        conn,
        Seen,
        """
        SELECT
            e.id,
            e.namespace,
            extract(epoch FROM coalesce(e.timestamp, e.created_at, 'epoch'))::float8 AS at_s,
            e.event_type,
            left(e.summary, 4000) AS summary,
            md5(e.summary) AS digest,
            coalesce(e.importance, 'medium')::text AS importance,
            (e.metadata ? 'echo_of' AND NOT e.metadata ? 'echo_adds') IS TRUE AS echo,
            e.details IS NULL AND e.context IS NULL AS bare
        FROM episodic_memory e
        WHERE e.id > %(after)s
          AND (e.expires_at > now()) IS NOT FALSE
          AND
        """
        + inside
        + """
        ORDER BY e.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after": after, "limit": limit},
    )


async def list_claims(conn: Connection, namespace: str | None) -> list[Claim]:
    """Return the facts that hold now of concepts with several, by concept and id."""
    return await fetch_all(
        conn,
        Claim,
        r"""
        WITH holding AS MATERIALIZED (
            SELECT e.id,
                   e.namespace,
                   lower(regexp_replace(btrim(e.concept), '\s+', ' ', 'g')) AS key
            FROM semantic_memory e
            WHERE (e.valid_from IS NULL OR e.valid_from <= now())
              AND (e.valid_to IS NULL OR e.valid_to > now())
              AND (e.expires_at > now()) IS NOT FALSE
              AND (%(namespace)s::text IS NULL OR e.namespace = %(namespace)s)
              AND length(e.content) <= 2000
        ),
        ranked AS (
            SELECT h.id,
                   h.namespace,
                   h.key,
                   count(*) OVER (PARTITION BY h.namespace, h.key) AS rivals,
                   row_number() OVER (PARTITION BY h.namespace, h.key ORDER BY h.id DESC) AS place
            FROM holding h
        )
        SELECT
            f.id,
            f.namespace,
            f.concept,
            r.key,
            f.content,
            f.valid_from,
            f.valid_to,
            coalesce(f.created_at, f.updated_at, 'epoch') AS recorded_at
        FROM ranked r
        JOIN semantic_memory f ON f.id = r.id
        WHERE r.rivals > 1
          AND r.place <= %(most_rivals)s
        ORDER BY r.namespace, r.key, f.id
        LIMIT %(most)s
        """,
        {"namespace": namespace, "most_rivals": _MOST_RIVALS, "most": _MOST_CLAIMS},
    )


async def list_namespaces(conn: Connection) -> list[tuple[str, int]]:
    """Return the namespaces and how many episodes each has, the largest first."""
    cursor = await conn.execute(
        """
        SELECT e.namespace, count(*)
        FROM episodic_memory e
        GROUP BY e.namespace
        ORDER BY count(*) DESC, e.namespace
        """
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def list_places(conn: Connection, facts: Sequence[int]) -> list[str]:
    """Return the namespaces of facts, by name."""
    cursor = await conn.execute(
        "SELECT DISTINCT namespace FROM semantic_memory WHERE id = ANY(%(ids)s::int[]) ORDER BY 1",
        {"ids": list(facts)},
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_stale_terms(conn: Connection, namespace: str | None) -> list[tuple[str, int]]:
    """Return namespaces whose words were counted a month ago, or before they doubled."""
    cursor = await conn.execute(
        """
        SELECT n.namespace, n.episodes
        FROM memory_namespaces n
        WHERE (%(namespace)s::text IS NULL OR n.namespace = %(namespace)s)
          AND (
              n.refreshed_at < now() - interval '30 days'
              OR (
                  SELECT count(*)
                  FROM (
                      SELECT
                      FROM episodic_memory e
                      WHERE e.namespace = n.namespace
                      LIMIT 2 * n.episodes
                  ) AS bounded
              ) NOT BETWEEN n.episodes / 2 AND 2 * n.episodes - 1
          )
        ORDER BY n.namespace
        """,
        {"namespace": namespace},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def read_believed_share(conn: Connection, namespace: str) -> float | None:
    """Return the share of the episodes that the planner believes a namespace has; None for none."""
    return await fetch_value(
        conn,
        """
        SELECT s.most_common_freqs[
                   array_position(s.most_common_vals::text::text[], %(namespace)s)
               ]::float8
        FROM pg_stats s
        WHERE s.schemaname = current_schema()
          AND s.tablename = 'episodic_memory'
          AND s.attname = 'namespace'
        """,
        {"namespace": namespace},
    )
