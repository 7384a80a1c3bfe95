"""Rows of a memory table with every column, whatever revision added it, out and in again.

The columns are read from the catalog, so that an archive holds what later revisions add, and what
other tables hold of a row and lose with it (`ON DELETE CASCADE`) goes along as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString

from psycopg import sql

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["Column", "Kind", "insert_rows", "insert_side", "list_columns", "read_rows", "read_side"]

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

#: What the history of a fact holds is the fact's, though no foreign key says so.
_OWNED: dict[str, tuple[tuple[str, str], ...]] = {"semantic_memory": (("fact_history", "fact_id"),)}


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


async def read_side(conn: Connection, table: str, ids: Sequence[int]) -> dict[int, str]:
    """Return what other tables hold of these rows: a JSON object, tables to rows, by id."""
    found: dict[int, dict[str, str]] = {}
    for other, column in await _dependents(conn, table):
        cursor = await conn.execute(
            sql.SQL(
                """
                SELECT t.{column}, jsonb_agg(to_jsonb(t))::text
                FROM {table} t
                WHERE t.{column} = ANY(%(ids)s)
                GROUP BY t.{column}
                """
            ).format(column=sql.Identifier(column), table=sql.Identifier(other)),
            {"ids": list(ids)},
        )
        for row_id, rows in await cursor.fetchall():
            of = found.setdefault(row_id, {})
            # A table of edges names a row at either end.
            of[other] = rows if other not in of else f"{of[other][:-1]},{rows[1:]}"
    return {
        row_id: "{" + ",".join(f'"{name}":{rows}' for name, rows in sorted(of.items())) + "}"
        for row_id, of in found.items()
    }


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


async def insert_side(conn: Connection, table: str, documents: Sequence[str]) -> None:
    """Put back what `read_side` gave; what is there by now stays as it is."""
    for other, _ in sorted(await _dependents(conn, table), key=lambda d: d[0]):
        await execute(
            conn,
            sql.SQL(
                """
                INSERT INTO {table}
                SELECT r.*
                FROM unnest(%(documents)s::text[]) AS d (document)
                CROSS JOIN LATERAL jsonb_populate_recordset(
                    NULL::{table}, d.document::jsonb -> {name}
                ) AS r
                WHERE d.document::jsonb ? {name}
                ON CONFLICT DO NOTHING
                """
            ).format(table=sql.Identifier(other), name=sql.Literal(other)),
            {"documents": list(documents)},
        )


async def _dependents(conn: Connection, table: str) -> list[tuple[str, str]]:
    """Return (table, column) of what is deleted with a row of `table`."""
    cursor = await conn.execute(
        """
        SELECT c.conrelid::regclass::text, a.attname::text
        FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        WHERE c.contype = 'f'
          AND c.confrelid = %(table)s::regclass
          AND c.confdeltype = 'c'
          AND cardinality(c.conkey) = 1
        ORDER BY 1, 2
        """,
        {"table": table},
    )
    found = [(row[0], row[1]) for row in await cursor.fetchall()]
    return [*found, *_OWNED.get(table, ())]
