"""Row counts and digests of tables, computed by the server in one pass and one number each.

A row's digest is PostgreSQL's own 64-bit hash of its columns; a table's is the sum over its rows,
so that their order does not matter and a row that is there twice counts twice. It is no secret
and no signature: the files have SHA-256 against flipped bits and a key against forgers. It tells
whether a restored table holds what the snapshot held.

Which form of a column is hashed depends on its type alone, so that both sides do the same: types
that hash by value do; others are hashed in their binary form, which is the same on every machine,
or as text. (Enums hash by number, which a restore gives anew: they count as text.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.errors import OpsError
from aegis.ops.backup.models import TableEntry
from aegis.ops.backup.programs import Stopped

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    import psycopg

__all__ = ["METHOD", "Table", "compare", "digest_tables", "list_tables", "lock_tables"]

#: Written into manifests; another method is not compared with this one.
METHOD = "sum-hash-record-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table to count."""

    schema: str
    name: str
    bytes: int
    #: Column, and how it is hashed: `value`, `text`, or the name of a function of pg_catalog or
    #: of an extension's schema, as `schema.name`.
    columns: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """Return how people name it."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def list_tables(conn: psycopg.Connection) -> list[Table]:
    """Return the tables whose rows pg_dump writes, the largest first."""
    rows: list[Any] = conn.execute(
        """
        SELECT n.nspname, c.relname, pg_total_relation_size(c.oid),
               coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (
                   WHERE a.attname IS NOT NULL), '{}'),
               coalesce(array_agg(
                   CASE
                       WHEN t.typtype IN ('b', 'r', 'm')
                            AND t.oid < 16384
                            AND t.typcategory <> 'A'
                            AND t.typname NOT LIKE 'reg%%'
                            AND h.found THEN 'value'
                       -- An array of built-in values; not of enums, whose numbers change.
                       WHEN t.typcategory = 'A'
                            AND t.typelem <> 0
                            AND t.typelem < 16384
                            AND e.found
                            AND et.typname NOT LIKE 'reg%%' THEN 'value'
                       WHEN t.typtype = 'b'
                            AND t.typcategory <> 'A'
                            AND t.typname NOT LIKE 'reg%%'
                            AND t.typsend <> 0
                       THEN (
                           SELECT pn.nspname || '.' || p.proname
                           FROM pg_proc p
                           JOIN pg_namespace pn ON pn.oid = p.pronamespace
                           WHERE p.oid = t.typsend
                       )
                       ELSE 'text'
                   END
                   ORDER BY a.attnum
               ) FILTER (WHERE a.attname IS NOT NULL), '{}')
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute a
            ON a.attrelid = c.oid
            AND a.attnum > 0
            AND NOT a.attisdropped
            -- What is generated is no content of its own.
            AND a.attgenerated = ''
        LEFT JOIN pg_type t0 ON t0.oid = a.atttypid
        -- A domain counts as what it is a domain of.
        LEFT JOIN pg_type t
            ON t.oid = CASE WHEN t0.typtype = 'd' THEN t0.typbasetype ELSE t0.oid END
        LEFT JOIN pg_type et ON et.oid = t.typelem
        LEFT JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM pg_opclass o
                JOIN pg_am m ON m.oid = o.opcmethod AND m.amname = 'hash'
                WHERE o.opcintype = t.oid
                   OR (t.typtype = 'r' AND o.opcintype = 'anyrange'::regtype)
                   OR (t.typtype = 'm' AND o.opcintype = 'anymultirange'::regtype)
                   OR (t.oid = 'varchar'::regtype AND o.opcintype = 'text'::regtype)
            ) AS found
        ) h ON true
        LEFT JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM pg_opclass o
                JOIN pg_am m ON m.oid = o.opcmethod AND m.amname = 'hash'
                WHERE o.opcintype = et.oid
                   OR (et.oid = 'varchar'::regtype AND o.opcintype = 'text'::regtype)
            ) AS found
        ) e ON true
        WHERE c.relkind = 'r'
          AND n.nspname !~ '^pg_'
          AND n.nspname <> 'information_schema'
          AND c.relpersistence <> 't'
          -- An extension's tables come with it; pg_dump leaves them alone.
          AND NOT EXISTS (
              SELECT FROM pg_depend d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
          )
        GROUP BY n.nspname, c.relname, c.oid
        ORDER BY 3 DESC, 1, 2
        """.replace("%%", "%")
    ).fetchall()
    return [
        Table(schema=r[0], name=r[1], bytes=r[2], columns=tuple(zip(r[3], r[4], strict=True)))
        for r in rows
    ]


def lock_tables(conn: psycopg.Connection, tables: Sequence[Table]) -> None:
    """Keep every table as it is until the transaction ends; reading and writing go on.

    Raises:
        psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable: somebody is changing one.
    """
    for at in range(0, len(tables), 100):
        names = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier(t.schema, t.name))
            for t in tables[at : at + 100]
        )
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))


def digest_tables(
    conn: psycopg.Connection,
    tables: Sequence[Table],
    *,
    stop: threading.Event | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> list[TableEntry]:
    """Return count and digest of each table, in the caller's transaction (`Stopped`)."""
    found: list[TableEntry] = []
    for number, table in enumerate(tables):
        if stop is not None and stop.is_set():
            raise Stopped
        if tell is not None:
            tell(number, len(tables))
        row: Any = conn.execute(_query(table)).fetchone()
        found.append(
            TableEntry(schema=table.schema, name=table.name, rows=row[0], digest=str(row[1]))
        )
    if tell is not None:
        tell(len(tables), len(tables))
    return found


def _query(table: Table) -> sql.Composed:
    columns = sql.SQL(", ").join(_column(name, how) for name, how in table.columns)
    return sql.SQL(
        "SELECT count(*), coalesce(sum(hash_record_extended(ROW({}), 0)), 0) FROM ONLY {}"
    ).format(columns, sql.Identifier(table.schema, table.name))


def _column(name: str, how: str) -> sql.Composable:
    column = sql.Identifier(name)
    if how == "value":
        return column
    if how == "text":
        return sql.SQL("{}::text").format(column)
    return sql.SQL("{}({})").format(sql.Identifier(*how.split(".", 1)), column)


def compare(expected: Sequence[TableEntry], found: Sequence[TableEntry]) -> list[str]:
    """Return what differs between a manifest and a database, one line each; empty if nothing."""
    there = {(t.schema, t.name): t for t in found}
    lines: list[str] = []
    for table in expected:
        other = there.pop((table.schema, table.name), None)
        title = f"{table.schema}.{table.name}"
        if other is None:
            lines.append(f"table {title} is missing")
        elif other.rows != table.rows:
            lines.append(f"table {title} has {other.rows} rows, not {table.rows}")
        elif other.digest != table.digest:
            lines.append(f"table {title} has other contents in its {table.rows} rows")
    lines += [f"table {schema}.{name} is not in the backup" for schema, name in there]
    return lines


def require_method(method: str) -> None:
    """Return if this code computes the digests that a manifest holds (`OpsError`)."""
    if method != METHOD:
        raise OpsError(
            f"The backup's digests were made by {method!r}, which this Aegis does not know.",
            code="digest_unknown",
        )
