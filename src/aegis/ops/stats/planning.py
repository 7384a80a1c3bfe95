"""Plans of statements whose values are not known: `EXPLAIN (GENERIC_PLAN)`, PostgreSQL 16 on.

Nothing is executed: no ANALYZE, in a transaction that is rolled back. Planning evaluates stable
functions, though, with the rights of whoever plans: only this role's own statements are planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from aegis.db import fetch_all
from aegis.errors import Unavailable
from aegis.ops.stats import statements
from aegis.ops.stats.models import Plan

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.ops.stats.statements import Kept

__all__ = ["explain", "plans", "slowest"]

_MISSING = (
    "pg_stat_statements is not there: add it to shared_preload_libraries and run "
    "CREATE EXTENSION pg_stat_statements."
)


async def slowest(conn: Connection, *, limit: int) -> list[Kept]:
    """Return this role's statements that took most time (`Unavailable`)."""
    place = await statements.find_schema(conn)
    if place is None:
        raise Unavailable(_MISSING, code="statements_missing")
    found = await statements.list_now(conn, place, own=True)
    return sorted(found, key=lambda k: -k.total_ms)[:limit]


async def plans(conn: Connection, *, limit: int) -> list[Plan]:
    """Return generic plans of the statements that took most time (`Unavailable`)."""
    found: list[Plan] = []
    for one in await slowest(conn, limit=limit):
        lines, why_not = await explain(conn, one.query)
        found.append(Plan(query_id=one.query_id, query=one.query, plan=lines, why_not=why_not))
    return found


async def explain(conn: Connection, query: str) -> tuple[list[str], str | None]:
    """Return the lines of a generic plan, or why there is none."""
    text = query.strip().rstrip(";")
    if ";" in text:
        # What looks like two statements is not sent: the second would be executed.
        return [], "it is more than one statement, or holds a semicolon"
    try:
        async with conn.transaction(force_rollback=True):
            lines: list[Any] = await fetch_all(
                conn,
                _Line,
                # The text comes from PostgreSQL's own normalised form; EXPLAIN executes nothing.
                sql.SQL("EXPLAIN (GENERIC_PLAN) {}").format(sql.SQL(text)),  # pyright: ignore[reportArgumentType]
            )
    except psycopg.Error as error:
        return [], (error.diag.message_primary or str(error)).strip()
    return [line.text for line in lines], None


class _Line:
    """One line of EXPLAIN, whose only column is called `QUERY PLAN`."""

    def __init__(self, **columns: str) -> None:
        self.text = next(iter(columns.values()))
