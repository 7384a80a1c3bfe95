"""Indexes that would help, measured: hypopg lets the planner see an index that does not exist.

Only what lowers the planner's cost by a share counts as advice. Hypothetical indexes belong to the
session and cost nothing; they are dropped at the end.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from aegis.db import fetch_value
from aegis.errors import Unavailable
from aegis.ops.stats.candidates import candidates, scans
from aegis.ops.stats.models import Advice
from aegis.ops.stats.planning import slowest

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.ops.stats.candidates import Scan
    from aegis.ops.stats.statements import Kept

__all__ = ["advice"]

#: Reading fewer rows costs less than an index does, whatever share of the cost it would save.
_LEAST_ROWS: Final = 1_000


async def advice(conn: Connection, *, limit: int, least_gain: float) -> list[Advice]:
    """Return indexes by what they gain for the statements that take most time (`Unavailable`)."""
    schema = await fetch_value(
        conn,
        """
        SELECT n.nspname
        FROM pg_extension e
        JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'hypopg'
        """,
    )
    if schema is None:
        raise Unavailable(
            "hypopg is not installed: CREATE EXTENSION hypopg, where the server has it. Without "
            "it, no gain can be measured, and nothing is advised.",
            code="hypopg_missing",
        )
    place = sql.Identifier(schema)
    found: dict[str, Advice] = {}
    try:
        for one in await slowest(conn, limit=limit):
            for made in await _of_statement(conn, place, one, least_gain):
                known = found.get(made.index)
                if known is None or known.gain < made.gain:
                    found[made.index] = made
    finally:
        if not conn.broken:
            await conn.execute(sql.SQL("SELECT {}.hypopg_reset()").format(place))
    return sorted(found.values(), key=lambda a: -a.gain)


async def _of_statement(
    conn: Connection, place: sql.Identifier, one: Kept, least_gain: float
) -> list[Advice]:
    plan = await _plan(conn, one.query)
    if plan is None:
        return []
    before = float(plan["Total Cost"])
    best: Advice | None = None
    for scan in scans(plan):
        for columns in candidates(scan.filter, await _columns(conn, scan)):
            made = await _try(conn, place, one, scan, columns, before)
            if (
                made is not None
                and made.gain >= least_gain
                and (best is None or made.gain > best.gain + 0.01)
            ):
                best = made
    return [] if best is None else [best]


async def _try(
    conn: Connection,
    place: sql.Identifier,
    one: Kept,
    scan: Scan,
    columns: tuple[str, ...],
    before: float,
) -> Advice | None:
    index = (
        sql.SQL("CREATE INDEX ON {} ({})")
        .format(
            sql.Identifier(scan.schema, scan.table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
        )
        .as_string(conn)
    )
    try:
        async with conn.transaction():
            oid = await fetch_value(
                conn,
                sql.SQL("SELECT indexrelid FROM {}.hypopg_create_index(%(index)s)").format(place),
                {"index": index},
            )
            plan = await _plan(conn, one.query)
            size = await fetch_value(
                conn,
                sql.SQL("SELECT {}.hypopg_relation_size(%(oid)s)").format(place),
                {"oid": oid},
            )
            await conn.execute(
                sql.SQL("SELECT {}.hypopg_drop_index(%(oid)s)").format(place), {"oid": oid}
            )
    except psycopg.Error:
        # Not every column can be indexed by a B-tree.
        return None
    if plan is None:
        return None
    after = float(plan["Total Cost"])
    return Advice(
        query_id=one.query_id,
        query=one.query,
        index=index.replace("CREATE INDEX ON", "CREATE INDEX CONCURRENTLY ON", 1) + ";",
        cost_before=before,
        cost_after=after,
        gain=1 - after / before if before else 0.0,
        size_bytes=int(size or 0),
    )


async def _columns(conn: Connection, scan: Scan) -> list[str]:
    """Return the columns that an index might have: none of a catalog or a table of few rows."""
    cursor = await conn.execute(
        """
        SELECT a.attname
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s
          AND c.relname = %(table)s
          AND NOT starts_with(n.nspname, 'pg_')
          AND n.nspname <> 'information_schema'
          AND c.reltuples >= %(least_rows)s
          AND a.attnum > 0
          AND NOT a.attisdropped
        """,
        {"schema": scan.schema, "table": scan.table, "least_rows": _LEAST_ROWS},
    )
    return [row[0] for row in await cursor.fetchall()]


async def _plan(conn: Connection, query: str) -> Any:
    """Return the top of a generic plan, None where there is none."""
    text = query.strip().rstrip(";")
    if ";" in text:
        return None
    statement = "EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) {}"
    try:
        async with conn.transaction():
            found = await fetch_value(
                conn,
                # The text is PostgreSQL's own normalised form; EXPLAIN executes nothing.
                sql.SQL(statement).format(sql.SQL(text)),  # pyright: ignore[reportArgumentType]
            )
    except psycopg.Error:
        return None
    parsed = json.loads(found) if isinstance(found, str) else found
    return parsed[0]["Plan"]
