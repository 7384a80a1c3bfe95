"""What a backup notes about a database beside its rows, in the same snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

__all__ = ["Survey", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Facts of a database."""

    database: str
    server_version: str
    server_version_num: int
    snapshot_at: datetime
    database_bytes: int
    large_objects: int
    extensions: dict[str, str]
    roles: tuple[str, ...]
    properties: dict[str, Any]


def survey(conn: psycopg.Connection) -> Survey:
    """Return the facts of the database, in the caller's transaction."""
    row: Any = conn.execute(
        """
        SELECT current_database()::text,
               current_setting('server_version'),
               current_setting('server_version_num')::int,
               now(),
               pg_database_size(current_database()),
               (SELECT count(*) FROM pg_largeobject_metadata),
               pg_encoding_to_char(encoding),
               datcollate,
               datctype,
               datlocprovider::text
        FROM pg_database
        WHERE datname = current_database()
        """
    ).fetchone()
    extensions = conn.execute("SELECT extname, extversion FROM pg_extension ORDER BY 1").fetchall()
    return Survey(
        database=row[0],
        server_version=row[1].split()[0],
        server_version_num=row[2],
        snapshot_at=row[3],
        database_bytes=row[4],
        large_objects=row[5],
        extensions=dict(extensions),
        roles=tuple(_roles(conn)),
        properties={
            "encoding": row[6],
            "collate": row[7],
            "ctype": row[8],
            "provider": row[9],
            "locale": _locale(conn),
            "settings": _settings(conn),
        },
    )


def _roles(conn: psycopg.Connection) -> list[str]:
    """Return roles that own something of the database, or were granted something."""
    rows: list[Any] = conn.execute(
        """
        SELECT DISTINCT pg_get_userbyid(s.refobjid)::text
        FROM pg_shdepend s
        WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND s.refclassid = 'pg_authid'::regclass
          AND s.deptype IN ('o', 'a')
        UNION
        SELECT DISTINCT pg_get_userbyid(c.relowner)::text
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_'
          AND n.nspname <> 'information_schema'
        ORDER BY 1
        """
    ).fetchall()
    return [name for (name,) in rows]


def _locale(conn: psycopg.Connection) -> str | None:
    # The column was renamed in PostgreSQL 17.
    row: Any = conn.execute(
        """
        SELECT coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
        FROM pg_database d
        WHERE datname = current_database()
        """
    ).fetchone()
    return row[0]


def _settings(conn: psycopg.Connection) -> list[str]:
    """Return what `ALTER DATABASE … SET` gave every role, as `name=value`."""
    rows: list[Any] = conn.execute(
        """
        SELECT unnest(setconfig)
        FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND setrole = 0
        """
    ).fetchall()
    return [text for (text,) in rows]
