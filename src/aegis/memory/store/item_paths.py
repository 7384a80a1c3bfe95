"""SQL of the paths that hold items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.memory.store.items import alive, in_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.items.models import ListPaths, PathMatch

__all__ = ["list_paths"]


async def list_paths(
    conn: Connection, listing: ListPaths, *, namespace: str, omit_expired: bool
) -> list[tuple[str, ...]]:
    """Return the paths that hold items: from each, the index finds the next at once."""
    conditions, params = _matching(listing.matches)
    within = next((m.labels for m in listing.matches if m.kind == "prefix"), ())
    within = within[: within.index("*")] if "*" in within else within
    inside, bounds = in_range(within)
    statement = sql.SQL(
        """
        WITH RECURSIVE places AS (
            (
                SELECT i.path
                FROM store_items i
                WHERE i.namespace = %(namespace)s
                  AND {inside}
                  AND {alive}
                ORDER BY i.namespace, i.path
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT i.path
                FROM store_items i
                WHERE i.namespace = %(namespace)s
                  AND i.path > p.path
                  AND {inside}
                  AND {alive}
                ORDER BY i.namespace, i.path
                LIMIT 1
            )
            FROM places p
            WHERE p.path IS NOT NULL
        )
        SELECT DISTINCT p.path[:%(depth)s]
        FROM places p
        WHERE p.path IS NOT NULL
          AND {matching}
        ORDER BY 1
        LIMIT %(limit)s
        OFFSET %(offset)s
        """
    ).format(inside=inside, alive=alive(omit_expired=omit_expired), matching=conditions)
    params |= bounds | {
        "namespace": namespace,
        "depth": listing.max_depth or 2**31 - 1,
        "limit": listing.limit,
        "offset": listing.offset,
    }
    cursor = await conn.execute(statement, params)
    return [tuple(row[0]) for row in await cursor.fetchall()]


def _matching(matches: Sequence[PathMatch]) -> tuple[sql.Composable, dict[str, Any]]:
    conditions: list[sql.Composable] = [sql.SQL("true")]
    params: dict[str, Any] = {}
    for match in matches:
        length = len(match.labels)
        conditions.append(sql.SQL("cardinality(p.path) >= {}").format(sql.Literal(length)))
        for number, label in enumerate(match.labels):
            if label == "*":
                continue
            name = f"label{len(params)}"
            params[name] = label
            place = (
                sql.SQL("p.path[{}]").format(sql.Literal(number + 1))
                if match.kind == "prefix"
                else sql.SQL("p.path[cardinality(p.path) - {}]").format(
                    sql.Literal(length - 1 - number)
                )
            )
            conditions.append(sql.SQL("{} = {}").format(place, sql.Placeholder(name)))
    return sql.SQL(" AND ").join(conditions), params
