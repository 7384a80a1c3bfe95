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

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "ROW_CHECKS",
    "Claim",
    "RowCheck",
    "count_episodes",
    "estimate_rows",
    "find_rows",
    "limit_time",
    "list_claims",
    "list_namespaces",
    "list_stale_terms",
    "list_window",
    "read_bounds",
]

#: Rows that a check counts at most: more than these is as good as these.
MOST_COUNTED = 100_000
#: Facts of one concept, and facts in all, that are held against one another.
_MOST_RIVALS, _MOST_CLAIMS = 50, 5_000


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


_EPISODE: LiteralString = "e.summary"
_FACT: LiteralString = "e.concept || ': ' || e.content"
_WITH_VECTORS: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("episodic_memory", _EPISODE),
    ("semantic_memory", _FACT),
)
_EXPIRING = ("episodic_memory", "semantic_memory")
_ALIVE: LiteralString = "(e.expires_at > now()) IS NOT FALSE"
_HOLDS: LiteralString = (
    "(e.valid_from IS NULL OR e.valid_from <= now()) AND (e.valid_to IS NULL OR e.valid_to > now())"
)

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
        condition="""
            NOT EXISTS (SELECT FROM semantic_memory x WHERE x.id = e.superseded_by)
            AND e.superseded_by IS NOT NULL
            OR e.source = 'consolidation'
            AND jsonb_typeof(e.metadata -> 'episodes') = 'array'
            AND NOT EXISTS (
                SELECT
                FROM jsonb_path_query(
                    e.metadata,
                    '$.episodes[*] ? (@.type() == "number" && @ >= 1 && @ < 2147483647)'
                ) AS n (id)
                JOIN episodic_memory x ON x.id = n.id::int
            )
        """,
        shown=_FACT,
        indexed=False,
    ),
    RowCheck(
        kind="decisions_open",
        table="decision_outcomes",
        condition="""
            (e.outcome_status IS NULL OR e.outcome_status::text = 'pending')
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
        condition="e.valid_to <= now() AND e.superseded_by IS NULL",
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
    model: str | None,
    dimensions: int | None,
    share: float,
    limit: int,
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
        alive=sql.SQL("AND " + _ALIVE if check.table in _EXPIRING else ""),
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
