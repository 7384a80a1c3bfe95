"""The shape of tables as the server's catalog tells it, and the difference between two shapes.

PostgreSQL prints a definition in one canonical way, so what is expected is created for a moment in
a schema of its own, printed by the same server, and rolled back. No parsing, no list of types to
keep, and nothing that one version prints differently from another.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import psycopg

__all__ = ["ColumnShape", "TableShape", "enum_labels", "read_shapes", "scratch_schema"]

SCRATCH: Final = "aegis_scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnShape:
    """One column as PostgreSQL prints it."""

    type: str
    nullable: bool
    #: Expression; `nextval(…)` for any sequence, whatever its name. None without a default.
    default: str | None

    def __str__(self) -> str:
        null = "" if self.nullable else " NOT NULL"
        default = "" if self.default is None else f" DEFAULT {self.default}"
        return f"{self.type}{null}{default}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """One table as PostgreSQL prints it."""

    name: str
    #: In the table's own order.
    columns: dict[str, ColumnShape] = field(default_factory=dict[str, ColumnShape])
    #: Name to definition, such as `PRIMARY KEY (id)`; NOT NULL is the columns' business.
    constraints: dict[str, str] = field(default_factory=dict[str, str])
    #: Name to definition without the name, such as `USING btree (concept)`.
    indexes: dict[str, str] = field(default_factory=dict[str, str])


@contextmanager
def scratch_schema(conn: psycopg.Connection) -> Generator[str]:
    """Yield the name of an empty schema where unqualified names are created; then undo it all.

    The caller's transaction goes on as if nothing had been.
    """
    conn.execute("SAVEPOINT aegis_scratch")
    try:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCRATCH)))
        conn.execute(
            "SELECT set_config('search_path', %s || ', ' || current_setting('search_path'), true)",
            (SCRATCH,),
        )
        yield SCRATCH
    finally:
        conn.execute("ROLLBACK TO SAVEPOINT aegis_scratch")
        conn.execute("RELEASE SAVEPOINT aegis_scratch")


def read_shapes(
    conn: psycopg.Connection, tables: Sequence[str], *, schema: str | None = None
) -> dict[str, TableShape]:
    """Return the tables that exist among `tables`, in `schema` or the current one."""
    params = {"tables": list(tables), "schema": schema}
    shapes: dict[str, TableShape] = {}
    rows: list[Any] = conn.execute(
        """
        SELECT c.relname,
               a.attname,
               format_type(a.atttypid, a.atttypmod),
               NOT a.attnotnull,
               CASE
                   WHEN a.attidentity <> '' THEN 'GENERATED AS IDENTITY'
                   WHEN a.attgenerated <> '' THEN
                       'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ')'
                   ELSE pg_get_expr(d.adbin, d.adrelid)
               END
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = coalesce(%(schema)s, current_schema())::regnamespace
          AND c.relkind IN ('r', 'p')
          AND c.relname = ANY (%(tables)s)
        ORDER BY c.relname, a.attnum
        """,
        params,
    ).fetchall()
    for table, column, type_, nullable, default in rows:
        shape = shapes.setdefault(table, TableShape(name=table))
        shape.columns[column] = ColumnShape(
            type=type_, nullable=nullable, default=_without_sequence_name(default)
        )
    for table, name, definition in _constraints(conn, params):
        shapes[table].constraints[name] = definition
    for table, name, definition in _indexes(conn, params):
        shapes[table].indexes[name] = definition
    return shapes


def enum_labels(conn: psycopg.Connection, name: str) -> list[str]:
    """Return an enum's labels in order; empty when there is no such type."""
    rows: list[Any] = conn.execute(
        "SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype(%s) ORDER BY enumsortorder",
        (name,),
    ).fetchall()
    return [label for (label,) in rows]


def _constraints(conn: psycopg.Connection, params: dict[str, Any]) -> list[Any]:
    return conn.execute(
        """
        SELECT c.relname,
               k.conname,
               regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
        FROM pg_class c
        JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f', 'c', 'x')
        WHERE c.relnamespace = coalesce(%(schema)s, current_schema())::regnamespace
          AND c.relkind IN ('r', 'p')
          AND c.relname = ANY (%(tables)s)
        ORDER BY c.relname, k.conname
        """,
        params,
    ).fetchall()


def _indexes(conn: psycopg.Connection, params: dict[str, Any]) -> list[Any]:
    return conn.execute(
        """
        SELECT c.relname,
               i.relname,
               CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END
                   || regexp_replace(pg_get_indexdef(i.oid), '^.*? (?=USING )', '')
                   -- left behind by a CREATE INDEX CONCURRENTLY that failed: serves no query
                   || CASE WHEN x.indisvalid THEN '' ELSE ' (invalid)' END
        FROM pg_class c
        JOIN pg_index x ON x.indrelid = c.oid
        JOIN pg_class i ON i.oid = x.indexrelid
        WHERE c.relnamespace = coalesce(%(schema)s, current_schema())::regnamespace
          AND c.relkind IN ('r', 'p')
          AND c.relname = ANY (%(tables)s)
          -- an index that a constraint made is compared as the constraint
          AND NOT EXISTS (
              SELECT FROM pg_constraint k
              WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x')
          )
        ORDER BY c.relname, i.relname
        """,
        params,
    ).fetchall()


def _without_sequence_name(default: str | None) -> str | None:
    if default is None:
        return None
    return re.sub(r"^nextval\('.*'::regclass\)$", "nextval(…)", default)
