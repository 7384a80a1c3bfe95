"""Six ways to run one statement; values by `%(name)s`, rows as dataclasses.

`sql` is a literal: the type checker rejects text put together at run time (`psycopg.sql` composes
identifiers). `cls` is a dataclass whose fields are the columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from psycopg import sql as compose
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from aegis.db.json_column import read_json_safely
from aegis.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg.sql import SQL, Composed

    from aegis.db.database import Connection

__all__ = ["execute", "fetch_all", "fetch_one", "fetch_optional", "fetch_value", "update_one"]

T = TypeVar("T")


async def fetch_all(
    conn: Connection,
    cls: type[T],
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
) -> list[T]:
    """Return every row as a `cls`."""
    read_json_safely(conn)
    async with conn.cursor(row_factory=class_row(cls)) as cursor:
        await cursor.execute(sql, params)
        return await cursor.fetchall()


async def fetch_optional(
    conn: Connection,
    cls: type[T],
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
) -> T | None:
    """Return the first row as a `cls`, or None."""
    read_json_safely(conn)
    async with conn.cursor(row_factory=class_row(cls)) as cursor:
        await cursor.execute(sql, params)
        return await cursor.fetchone()


async def fetch_one(
    conn: Connection,
    cls: type[T],
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    missing: str,
) -> T:
    """Return the first row as a `cls`.

    Raises:
        NotFound: there is none; `missing` is the message.
    """
    row = await fetch_optional(conn, cls, sql, params)
    if row is None:
        raise NotFound(missing)
    return row


async def fetch_value(
    conn: Connection,
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
) -> Any:
    """Return the first column of the first row, or None."""
    cursor = await conn.execute(sql, params)
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def execute(
    conn: Connection,
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
) -> int:
    """Run a statement and return the number of rows that it touched."""
    cursor = await conn.execute(sql, params)
    return max(cursor.rowcount, 0)


async def update_one(
    conn: Connection,
    cls: type[T],
    table: LiteralString,
    alias: LiteralString,
    changes: Mapping[str, Any],
    *,
    types: Mapping[str, LiteralString],
    stamp: LiteralString | None,
    row_id: int,
    namespace: str,
    returning: LiteralString,
    missing: str,
) -> T:
    """Set the columns in `changes` of one row of a namespace and return it as a `cls`.

    `types` names the columns that may be set and their SQL types; `stamp` is a column that gets
    the time of the change. The row is called `alias` in `returning`.

    Raises:
        NotFound: there is no such row; `missing` is the message.
    """
    assignments = [
        compose.SQL("{} = %s::{}").format(compose.Identifier(name), compose.SQL(types[name]))
        for name in changes
    ]
    if stamp is not None:
        assignments.append(compose.SQL("{} = now()").format(compose.Identifier(stamp)))
    statement = compose.SQL(
        "UPDATE {} AS {} SET {} WHERE id = %s AND namespace = %s RETURNING {}"
    ).format(
        compose.Identifier(table),
        compose.Identifier(alias),
        compose.SQL(", ").join(assignments),
        compose.SQL(returning),
    )
    values = [Jsonb(v) if isinstance(v, dict) else v for v in changes.values()]
    return await fetch_one(conn, cls, statement, [*values, row_id, namespace], missing=missing)
