"""How empty a table really is: measured, where an estimate is no proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.db import fetch_value

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["empty_share"]


async def empty_share(conn: Connection, schema: str, table: str) -> float:
    """Return the share of a table, 0 to 1, that rows do not fill; the whole table may be read."""
    place = sql.Identifier(schema, table)
    name = place.as_string(conn)
    extension = await fetch_value(
        conn,
        """
        SELECT n.nspname
        FROM pg_extension e
        JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pgstattuple'
        """,
    )
    if extension is not None:
        share: Any = await fetch_value(
            conn,
            sql.SQL(
                "SELECT approx_free_percent + dead_tuple_percent FROM {}.pgstattuple_approx(%(t)s)"
            ).format(sql.Identifier(extension)),
            {"t": name},
        )
        return float(share or 0) / 100
    # The rows themselves, with their header of 24 bytes and their pointer of 4, aligned to 8; what
    # lies in TOAST is counted as its pointer, which is how it is stored here.
    used: Any = await fetch_value(
        conn,
        sql.SQL(
            """
            SELECT coalesce(sum(28 + ceil(least(pg_column_size(t.*), 2040) / 8.0) * 8), 0)
            FROM {} t
            """
        ).format(place),
    )
    taken: Any = await fetch_value(conn, "SELECT pg_relation_size(%(t)s::regclass)", {"t": name})
    return 0.0 if not taken else max(0.0, 1 - float(used) / float(taken))
