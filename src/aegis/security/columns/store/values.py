"""SQL of the values of a column that may be encrypted; the catalogue names table and column.

A value is a text, or the object of a JSON column. Pages are in the order of the rows' keys, so that
two transactions lock rows in one order, and are found by the primary key or a unique index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.types.json import Jsonb

from aegis.db import fetch_all, fetch_one
from aegis.security.columns.models import Forms
from aegis.security.columns.sealing import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.security.columns.catalogue import Sealable

__all__ = ["Held", "count_forms", "page", "page_to_change", "replace_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One row's value."""

    key: Any
    #: Text, or an object.
    value: Any
    hash: str | None


def _parts(entry: Sealable) -> sql.Composed:
    """Return an array of the texts of a value that are encrypted, NULLs among them."""
    column = sql.SQL("t.{}").format(sql.Identifier(entry.column))
    if not entry.fields:
        return sql.SQL("ARRAY[{}]").format(column)
    texts = (sql.SQL("{} ->> {}").format(column, sql.Literal(f)) for f in entry.fields)
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(texts))


def _names(entry: Sealable) -> dict[str, sql.Composable]:
    return {
        "table": sql.Identifier(entry.table),
        "key": sql.Identifier(entry.key),
        "type": sql.SQL("bigint") if entry.key_type == "bigint" else sql.SQL("text"),
        "column": sql.Identifier(entry.column),
        "parts": _parts(entry),
        "hash": sql.SQL("NULL::text")
        if entry.hash_column is None
        else sql.SQL("t.{}").format(sql.Identifier(entry.hash_column)),
        "after": sql.SQL("TRUE"),
    }


async def count_forms(conn: Connection, entry: Sealable, *, key_id: str) -> Forms:
    """Return how many rows hold a clear text, and how many an encrypted one, by any key."""
    return await fetch_one(
        conn,
        Forms,
        sql.SQL(
            """
            SELECT
                count(*) FILTER (WHERE f.clear) AS clear,
                count(*) FILTER (WHERE f.sealed) AS sealed,
                count(*) FILTER (WHERE f.other_key) AS other_key
            FROM {table} t
            CROSS JOIN LATERAL (
                SELECT
                    bool_or(NOT starts_with(p.part, %(mark)s)) AS clear,
                    bool_or(starts_with(p.part, %(mark)s)) AS sealed,
                    bool_or(
                        starts_with(p.part, %(mark)s) AND NOT starts_with(p.part, %(own)s)
                    ) AS other_key
                FROM unnest({parts}) AS p (part)
            ) f
            """
        ).format(**_names(entry)),
        {"mark": MARK, "own": f"{MARK}{key_id}:"},
        missing=f"{entry.name} cannot be counted.",
    )


async def page(conn: Connection, entry: Sealable, *, after: Any, limit: int) -> list[Held]:
    """Return the values that are there behind the key `after`, in order of keys."""
    return await fetch_all(
        conn,
        Held,
        sql.SQL(
            """
            SELECT t.{key} AS key, t.{column} AS value, {hash} AS hash
            FROM {table} t
            WHERE t.{column} IS NOT NULL
              AND (%(after)s::{type} IS NULL OR t.{key} > %(after)s::{type})
            ORDER BY t.{key}
            LIMIT %(limit)s
            """
        ).format(**_names(entry)),
        {"after": after, "limit": limit},
    )


async def page_to_change(
    conn: Connection, entry: Sealable, *, key_id: str | None, after: Any, limit: int
) -> list[Held]:
    """Return rows, locked, that are not yet as they should be, behind the key `after`.

    That is: not wholly encrypted by the key; without a key, not wholly clear.
    """
    return await fetch_all(
        conn,
        Held,
        sql.SQL(
            """
            SELECT t.{key} AS key, t.{column} AS value, {hash} AS hash
            FROM {table} t
            WHERE t.{column} IS NOT NULL
              AND (%(after)s::{type} IS NULL OR t.{key} > %(after)s::{type})
              AND EXISTS (
                  SELECT FROM unnest({parts}) AS p (part)
                  WHERE CASE
                      WHEN %(own)s::text IS NULL THEN starts_with(p.part, %(mark)s)
                      ELSE NOT starts_with(p.part, %(own)s)
                  END
              )
            ORDER BY t.{key}
            LIMIT %(limit)s
            FOR NO KEY UPDATE
            """
        ).format(**_names(entry)),
        {
            "after": after,
            "limit": limit,
            "mark": MARK,
            "own": None if key_id is None else f"{MARK}{key_id}:",
        },
    )


async def replace_values(conn: Connection, entry: Sealable, rows: Sequence[Held]) -> None:
    """Write other values, and hashes, of locked rows."""
    hashed = (
        sql.SQL("")
        if entry.hash_column is None
        else sql.SQL(", {} = n.hash").format(sql.Identifier(entry.hash_column))
    )
    kind = sql.SQL("jsonb") if entry.fields else sql.SQL("text")
    await conn.execute(
        sql.SQL(
            """
            UPDATE {table} AS t
            SET {column} = n.value{hashed}
            FROM unnest(%(keys)s::{type}[], %(values)s::{kind}[], %(hashes)s::text[])
                AS n (key, value, hash)
            WHERE t.{key} = n.key
            """
        ).format(**_names(entry), hashed=hashed, kind=kind),
        {
            "keys": [row.key for row in rows],
            "values": [Jsonb(r.value) if entry.fields else r.value for r in rows],
            "hashes": [row.hash for row in rows],
        },
    )
