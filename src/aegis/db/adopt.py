"""Take over a database that was made by the schema's first SQL, without Aegis.

Every table is compared with the first revision as the server prints both. What is missing is
created, what the owner added stays, and a table that differs ends it: nothing is changed then.
Everything up to the stamp is one transaction. A crash after it leaves a database at revision 0001,
which `aegis db upgrade`, or adopting again, takes further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from aegis.db import migrate
from aegis.db.admin import (
    admin_connection,
    exclusive_connection,
    read_status,
    require_server,
)
from aegis.db.adoption import (
    SET_ASIDE,
    UNPUBLISHED,
    AdoptionReport,
    TableReport,
    compare_table,
)
from aegis.db.revision import TABLES, VERSION_TABLE_COMMENT, SchemaStatus, require_current
from aegis.db.shape import TableShape, enum_labels, read_shapes, scratch_schema
from aegis.db.translate import translated
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AdoptionReport", "TableReport", "adopt", "inspect"]

FIRST: Final = "0001"


def inspect(target: str | psycopg.Connection) -> AdoptionReport:
    """Compare a database with the first revision and change nothing.

    The user needs the right to create a schema, for the moment of comparing.
    """
    if isinstance(target, psycopg.Connection):
        return _inspect(target)
    with admin_connection(target) as conn, translated():
        report = _inspect(conn)
        conn.rollback()
        return report


def adopt(dsn: str, *, set_aside: bool = False) -> AdoptionReport:
    """Stamp the database as the first revision, bring it up to date and return what was found.

    A database that Aegis manages already is only brought up to date. `set_aside` moves a table
    `infra_anomaly_alerts` of another shape to the schema `aegis_set_aside`. Dump first.

    Raises:
        OpsError: `adopt_refused` if a table differs; nothing was changed.
    """
    with exclusive_connection(dsn) as conn:
        require_server(conn)
        status = read_status(conn)
        conn.rollback()
        if status.state == "ahead":
            require_current(status)

        def take() -> AdoptionReport:
            with conn.transaction():
                report = _inspect(conn)
                if status.state in ("unversioned", "foreign", "empty"):
                    _take_over(conn, report, set_aside=set_aside)
            return report

        report = migrate.between_readers(conn, take)
        migrate.between_readers(conn, lambda: migrate.run_upgrade(conn, "head"))
        return report


def _take_over(conn: psycopg.Connection, report: AdoptionReport, *, set_aside: bool) -> None:
    if report.status.tables == 0:
        raise OpsError(
            "There is nothing to adopt: the database has none of Aegis's tables. "
            "Run `aegis db upgrade` to create them.",
            code="adopt_refused",
        )
    if set_aside and _table(report, UNPUBLISHED).state == "differs":
        _move_aside(conn)
        report = _inspect(conn)
    if not report.adoptable:
        raise OpsError(
            "This database cannot be adopted, and nothing was changed: "
            + "; ".join(report.all_differences()),
            code="adopt_refused",
        )
    _create_missing(conn, report)
    _stamp(conn, report.status)


def _table(report: AdoptionReport, name: str) -> TableReport:
    return next(table for table in report.tables if table.name == name)


def _inspect(conn: psycopg.Connection) -> AdoptionReport:
    status = read_status(conn)
    if status.state in ("behind", "current", "ahead"):
        return AdoptionReport(status=status, notes=("Aegis manages this database already",))
    found = read_shapes(conn, TABLES)
    for name in found:
        # Nobody may change a definition between this look and the stamp.
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(name)))
    wanted = _expected(conn)
    extra_tables, taken = _relations(conn)
    return AdoptionReport(
        status=status,
        tables=tuple(compare_table(wanted[name], found.get(name)) for name in TABLES),
        differences=(*_enum_differences(conn), *taken, *_dependencies(conn), *_owners(conn)),
        notes=tuple(_notes(conn, status)),
        extra_tables=tuple(extra_tables),
    )


def _first_revision() -> Any:
    return migrate.revision_module(FIRST)


def _expected(conn: psycopg.Connection) -> dict[str, TableShape]:
    first = _first_revision()
    with scratch_schema(conn) as schema:
        for statement in (first.VECTOR_EXTENSION, first.UUID_FUNCTION, first.IMPORTANCE):
            conn.execute(statement)
        for statement in first.TABLES.values():
            conn.execute(statement)
        for _, statement in first.INDEXES.values():
            conn.execute(statement)
        return read_shapes(conn, TABLES, schema=schema)


def _relations(conn: psycopg.Connection) -> tuple[list[str], list[str]]:
    """Return the owner's tables, and complaints about names that later revisions need."""
    from aegis.db.schema import metadata

    later = set(metadata.tables) - set(TABLES)
    first = _first_revision()
    later |= {
        str(index.name) for table in metadata.tables.values() for index in table.indexes
    } - set(first.INDEXES)
    rows: list[Any] = conn.execute(
        """
        SELECT relname, relkind IN ('r', 'p')
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
          AND NOT EXISTS (
              SELECT FROM pg_depend
              WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
          )
        ORDER BY relname
        """
    ).fetchall()
    taken = [
        f"the name {name} is taken, and a later revision needs it; rename yours"
        for name, _ in rows
        if name in later
    ]
    known = {*TABLES, "alembic_version"}
    return [name for name, is_table in rows if is_table and name not in known], taken


def _enum_differences(conn: psycopg.Connection) -> list[str]:
    wanted = ["low", "medium", "high", "critical"]
    found = enum_labels(conn, "memory_importance")
    if found and found != wanted:
        return [
            f"type memory_importance has the values {', '.join(found)}, "
            f"expected {', '.join(wanted)}"
        ]
    return []


def _dependencies(conn: psycopg.Connection) -> list[str]:
    """Return complaints about views that forbid changing the type of the vectors' column."""
    rows: list[Any] = conn.execute(
        """
        SELECT DISTINCT v.oid::regclass::text, t.relname
        FROM pg_depend d
        JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_class v ON v.oid = r.ev_class
        JOIN pg_class t ON t.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
        WHERE t.relnamespace = current_schema()::regnamespace
          AND t.relname IN ('episodic_memory', 'semantic_memory')
          AND a.attname = 'embedding'
        ORDER BY 1
        """
    ).fetchall()
    return [
        f"view {view} reads {table}.embedding, whose type a later revision changes; "
        "drop it, adopt, and create it again"
        for view, table in rows
    ]


def _owners(conn: psycopg.Connection) -> list[str]:
    rows: list[Any] = conn.execute(
        """
        SELECT relname, pg_get_userbyid(relowner), current_user
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
          AND relname = ANY (%s)
          AND NOT pg_has_role(relowner, 'USAGE')
        ORDER BY relname
        """,
        (list(TABLES),),
    ).fetchall()
    return [
        f"table {table} belongs to {owner}, and {user} may not change it; adopt as {owner}"
        for table, owner, user in rows
    ]


def _notes(conn: psycopg.Connection, status: SchemaStatus) -> Iterator[str]:
    row: Any = conn.execute(
        """
        SELECT extversion, string_to_array(extversion, '.')::int[] < ARRAY[0, 8]
        FROM pg_extension
        WHERE extname = 'vector'
        """
    ).fetchone()
    if row is not None and row[1]:
        yield (
            f"pgvector is {row[0]}; install 0.8 or later on the server and run "
            "`ALTER EXTENSION vector UPDATE`, then `aegis db upgrade`: until then recall scans"
        )
    if status.state == "foreign":
        yield (
            f"alembic_version holds {status.revision}, of another project; it will be kept in the "
            "table's comment"
        )


def _move_aside(conn: psycopg.Connection) -> None:
    schema = sql.Identifier(SET_ASIDE)
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    conn.execute(
        sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(sql.Identifier(UNPUBLISHED), schema)
    )


def _create_missing(conn: psycopg.Connection, report: AdoptionReport) -> None:
    first = _first_revision()
    for statement in (first.VECTOR_EXTENSION, first.UUID_FUNCTION):
        conn.execute(statement)
    if not enum_labels(conn, "memory_importance"):
        conn.execute(first.IMPORTANCE)
    for table in report.tables:
        if table.state == "missing":
            conn.execute(first.TABLES[table.name])
        for old, new in table.renamed_indexes:
            conn.execute(
                sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                    sql.Identifier(old), sql.Identifier(new)
                )
            )
    absent = {table.name for table in report.tables if table.state == "missing"}
    create = {name for table in report.tables for name in table.missing_indexes}
    for name, (table_name, statement) in first.INDEXES.items():
        # Those on vectors take long to build, and the revision that changes them makes them.
        if (name in create and "hnsw" not in statement) or table_name in absent:
            conn.execute(statement)


def _stamp(conn: psycopg.Connection, status: SchemaStatus) -> None:
    before = ""
    if status.revision is not None:
        before = f"; before it was adopted, {status.revision} of another project stood here"
    conn.execute(migrate.CREATE_VERSION_TABLE)
    conn.execute("DELETE FROM alembic_version")
    conn.execute("INSERT INTO alembic_version (version_num) VALUES (%s)", (FIRST,))
    conn.execute(
        sql.SQL("COMMENT ON TABLE alembic_version IS {}").format(VERSION_TABLE_COMMENT + before)
    )
