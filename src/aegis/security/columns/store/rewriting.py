"""SQL that leaves no clear value of before in the files of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from aegis.db import fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["rewrite_tables"]


async def rewrite_tables(conn: Connection, tables: Sequence[str]) -> list[str]:
    """Write tables anew, then their samples in `pg_statistic`; return what the user may not.

    The connection is in autocommit mode. VACUUM alone leaves the bytes of old rows in the free
    space of pages.
    """
    left: list[str] = []
    await conn.execute("SET statement_timeout = 0")
    try:
        for table in (*tables, "pg_catalog.pg_statistic"):
            if not await _may_rewrite(conn, table):
                # PostgreSQL would pass over the table with a warning.
                left.append(table)
                continue
            name = sql.SQL(".").join(sql.Identifier(part) for part in table.split("."))
            options = sql.SQL("FULL") if table.startswith("pg_") else sql.SQL("FULL, ANALYZE")
            await conn.execute(sql.SQL("VACUUM ({}) {}").format(options, name))
        if await fetch_value(conn, "SELECT pg_has_role('pg_checkpoint', 'USAGE')"):
            # The files that were replaced go now.
            await conn.execute("CHECKPOINT")
    finally:
        await conn.execute("RESET statement_timeout")
    return left


async def _may_rewrite(conn: Connection, table: str) -> bool:
    return await fetch_value(
        conn,
        """
        SELECT pg_has_role(c.relowner, 'USAGE')
            OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        FROM pg_class c
        WHERE c.oid = %(table)s::regclass
        """,
        {"table": table},
    )
