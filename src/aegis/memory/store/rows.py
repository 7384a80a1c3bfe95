"""Rows of a memory table with every column, whatever revision added it, out and in again.

The columns are read from the catalog, so that an archive holds what later revisions add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString

from psycopg import sql

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["Column", "Kind", "insert_rows", "list_columns", "read_rows"]

#: How a column's values travel: as they are, as JSON text, as floats, or as PostgreSQL's text.
Kind = Literal["integer", "bigint", "float", "boolean", "time", "json", "vector", "text",
               "texts", "integers", "other"]  # fmt: skip

_KINDS: dict[str, Kind] = {
    "integer": "integer",
    "bigint": "bigint",
    "double precision": "float",
    "boolean": "boolean",
    "timestamp with time zone": "time",
    "jsonb": "json",
    "vector": "vector",
    "text": "text",
    "text[]": "texts",
    "integer[]": "integers",
}
_CASTS: dict[Kind, LiteralString] = {"json": "::text", "vector": "::real[]", "other": "::text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table, generated ones left out."""

    name: str
    kind: Kind


async def list_columns(conn: Connection, table: str) -> list[Column]:
    """Return the columns that a row is made of, in their order."""
    cursor = await conn.execute(
        """
        SELECT a.attname::text, format_type(a.atttypid, NULL)
        FROM pg_attribute a
        WHERE a.attrelid = %(table)s::regclass
          AND a.attnum > 0
          AND NOT a.attisdropped
          AND a.attgenerated = ''
        ORDER BY a.attnum
        """,
        {"table": table},
    )
    rows = await cursor.fetchall()
    return [Column(name=name, kind=_KINDS.get(kind, "other")) for name, kind in rows]


async def read_rows(
    conn: Connection, table: str, columns: Sequence[Column], ids: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Return the rows of these ids, by id, with the values in the order of `columns`."""
    statement = sql.SQL("SELECT {} FROM {} WHERE id = ANY(%(ids)s) ORDER BY id").format(
        sql.SQL(", ").join(
            sql.SQL("{}{}").format(sql.Identifier(c.name), sql.SQL(_CASTS.get(c.kind, "")))
            for c in columns
        ),
        sql.Identifier(table),
    )
    cursor = await conn.execute(statement, {"ids": list(ids)})
    return await cursor.fetchall()


async def insert_rows(
    conn: Connection, table: str, names: Sequence[str], documents: Sequence[str]
) -> int:
    """Insert rows, each a JSON object with these names; one that is there already is left out."""
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL(
        """
        INSERT INTO {table} ({columns})
        SELECT {columns}
        FROM unnest(%(documents)s::text[]) AS d (document)
        CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, d.document::jsonb)
        ON CONFLICT DO NOTHING
        """
    ).format(table=sql.Identifier(table), columns=columns)
    return await execute(conn, statement, {"documents": list(documents)})
