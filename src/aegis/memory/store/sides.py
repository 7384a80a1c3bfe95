"""What other tables hold of a row, out and in again: its side, a JSON object of tables to rows.

Tables are found in the catalog: what is deleted with a row (`ON DELETE CASCADE`) is its side, so
that an archive holds what later revisions add. Beside relations stand the entities that they lead
to, which go with their last relation.

Surprise: what a side leads to may be gone when it comes back; such rows are left out and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import execute
from aegis.memory.store.graph_sides import add_entities, list_relations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["drop_retired_vectors", "put_rows", "put_side", "read_side"]

#: What the history of a fact holds is the fact's, though no foreign key says so.
_OWNED: dict[str, tuple[tuple[str, str], ...]] = {"semantic_memory": (("fact_history", "fact_id"),)}

#: Made from the row by a trigger, wherever it comes from.
_DERIVED: frozenset[str] = frozenset({"episodic_sketches"})

#: Put last, with what they lead to, by `graph_sides.put_relations`.
_RELATIONS = "graph_relations"

#: A spare vector is of use while its model is known and its row carries another one's.
_VECTORS: dict[str, LiteralString] = {
    "episodic_vectors": "episodic_memory",
    "semantic_vectors": "semantic_memory",
}
_OF_USE: LiteralString = """
    AND EXISTS (
        SELECT
        FROM {owner} o
        JOIN embedding_models m ON m.model = r.model AND m.state <> 'retired'
        WHERE o.id = r.id
          AND o.embedding_model <> r.model
    )
"""


async def read_side(conn: Connection, table: str, ids: Sequence[int]) -> dict[int, str]:
    """Return the sides of these rows that have one, by id."""
    found: dict[int, dict[str, str]] = {}
    dependents = await _dependents(conn, table)
    for other, column in dependents:
        listed = (
            await list_relations(conn, column, ids)
            if other == _RELATIONS
            else await _list_rows(conn, other, column, ids)
        )
        for row_id, rows in listed.items():
            of = found.setdefault(row_id, {})
            # A table of edges names a row at either end.
            of[other] = rows if other not in of else f"{of[other][:-1]},{rows[1:]}"
    for other, column in dependents:
        if other == _RELATIONS:
            await add_entities(conn, column, ids, found)
    return {
        row_id: "{" + ",".join(f'"{name}":{rows}' for name, rows in sorted(of.items())) + "}"
        for row_id, of in found.items()
    }


async def _list_rows(
    conn: Connection, table: str, column: str, ids: Sequence[int]
) -> dict[int, str]:
    cursor = await conn.execute(
        sql.SQL(
            """
            SELECT t.{column}, jsonb_agg(to_jsonb(t))::text
            FROM {table} t
            WHERE t.{column} = ANY(%(ids)s)
            GROUP BY t.{column}
            """
        ).format(column=sql.Identifier(column), table=sql.Identifier(table)),
        {"ids": list(ids)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def put_side(conn: Connection, table: str, documents: Sequence[str]) -> int:
    """Put back all but the relations; return how many rows were left out, as they lead nowhere.

    What is there by now stays as it is.
    """
    left = 0
    others = sorted({other for other, _ in await _dependents(conn, table)} - {_RELATIONS})
    for other in others:
        left += await put_rows(conn, other, documents)
    return left


async def put_rows(conn: Connection, table: str, documents: Sequence[str]) -> int:
    """Put back the rows of one table; return how many were left out."""
    names, stands = await _shape(conn, table)
    use = sql.SQL("")
    if table in _VECTORS:
        use = sql.SQL(_OF_USE).format(owner=sql.Identifier(_VECTORS[table]))
    cursor = await conn.execute(
        sql.SQL(
            """
            WITH given AS (
                SELECT r.*, {stands} AS stands
                FROM unnest(%(documents)s::text[]) AS d (document)
                CROSS JOIN LATERAL jsonb_populate_recordset(
                    NULL::{table}, d.document::jsonb -> {name}
                ) AS r
                WHERE d.document::jsonb ? {name}
            ),
            put AS (
                INSERT INTO {table} ({columns})
                SELECT {columns}
                FROM given r
                WHERE r.stands
                  {use}
                ON CONFLICT DO NOTHING
            )
            SELECT count(*)
            FROM given
            WHERE NOT stands
            """
        ).format(
            table=sql.Identifier(table),
            name=sql.Literal(table),
            columns=sql.SQL(", ").join(map(sql.Identifier, names)),
            stands=stands,
            use=use,
        ),
        {"documents": list(documents)},
    )
    row: Any = await cursor.fetchone()
    return row[0]


async def drop_retired_vectors(conn: Connection, table: str, ids: Sequence[int]) -> int:
    """Take vectors away that nothing compares any more: their model was retired meanwhile.

    The backfill makes new ones.
    """
    return await execute(
        conn,
        sql.SQL(
            """
            UPDATE {table} t
            SET embedding = NULL,
                embedding_model = NULL
            FROM embedding_models m
            WHERE t.id = ANY(%(ids)s)
              AND m.model = t.embedding_model
              AND m.state = 'retired'
            """
        ).format(table=sql.Identifier(table)),
        {"ids": list(ids)},
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
    found = [(row[0], row[1]) for row in await cursor.fetchall() if row[0] not in _DERIVED]
    return [*found, *_OWNED.get(table, ())]


async def _shape(conn: Connection, table: str) -> tuple[list[str], sql.Composable]:
    """Return the columns of a table, and the condition that what a row `r` refers to is there."""
    cursor = await conn.execute(
        """
        SELECT a.attname::text, c.confrelid::regclass::text, f.attname::text
        FROM pg_attribute a
        LEFT JOIN pg_constraint c
               ON c.conrelid = a.attrelid
              AND c.contype = 'f'
              AND c.conkey = ARRAY[a.attnum]
              -- A row that refers to another of the same statement is checked at its end.
              AND c.confrelid <> c.conrelid
        LEFT JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
        WHERE a.attrelid = %(table)s::regclass
          AND a.attnum > 0
          AND NOT a.attisdropped
          AND a.attgenerated = ''
        ORDER BY a.attnum
        """,
        {"table": table},
    )
    rows = await cursor.fetchall()
    stands = [
        sql.SQL("(r.{0} IS NULL OR EXISTS (SELECT FROM {1} x WHERE x.{2} = r.{0}))").format(
            sql.Identifier(name), sql.Identifier(other), sql.Identifier(key)
        )
        for name, other, key in rows
        if other is not None
    ]
    return list(dict.fromkeys(row[0] for row in rows)), sql.SQL(" AND ").join(
        stands or [sql.SQL("TRUE")]
    )
