"""SQL of the reading role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import execute, fetch_value
from aegis.db.scram import make_verifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["address_of", "grant_read", "list_tables", "make_role", "revoke_all"]


async def list_tables(conn: Connection) -> set[str]:
    """Return the tables and views of the schema that Aegis uses."""
    return set(
        await fetch_value(
            conn,
            """
            SELECT coalesce(array_agg(c.relname::text), '{}')
            FROM pg_class c
            WHERE c.relnamespace = current_schema()::regnamespace
              AND c.relkind IN ('r', 'p', 'v', 'm')
            """,
        )
    )


async def make_role(conn: Connection, role: str, password: str) -> None:
    """Make a role that can log in and do nothing else, or give it this password."""
    known = await fetch_value(
        conn, "SELECT 1 FROM pg_roles WHERE rolname = %(role)s", {"role": role}
    )
    await execute(
        conn,
        sql.SQL("{verb} ROLE {role} {can} {password}").format(
            verb=sql.SQL("ALTER" if known else "CREATE"),
            role=sql.Identifier(role),
            can=sql.SQL(
                "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT "
                "CONNECTION LIMIT 50 PASSWORD"
            ),
            # What the server keeps: neither it nor its log sees the password.
            password=sql.Literal(make_verifier(password)),
        ),
    )
    await execute(
        conn,
        sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(
            sql.Identifier(role)
        ),
    )


async def revoke_all(conn: Connection, role: str) -> None:
    """Take back what the role may do with tables of this schema."""
    schema = await fetch_value(conn, "SELECT current_schema()")
    await execute(
        conn,
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(
            sql.Identifier(schema), sql.Identifier(role)
        ),
    )


async def grant_read(conn: Connection, role: str, tables: Sequence[str]) -> None:
    """Let the role read tables of this schema."""
    schema = await fetch_value(conn, "SELECT current_schema()")
    await execute(
        conn,
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
            sql.Identifier(conn.info.dbname), sql.Identifier(role)
        ),
    )
    await execute(
        conn,
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(
            sql.Identifier(schema), sql.Identifier(role)
        ),
    )
    for table in tables:
        await execute(
            conn,
            sql.SQL("GRANT SELECT ON {} TO {}").format(
                sql.Identifier(schema, table), sql.Identifier(role)
            ),
        )


def address_of(conn: Connection, role: str, password: str, *, past: str | None = None) -> str:
    """Return the address of the same database for another role; `past` leads past a pooler."""
    parts: dict[str, Any] = dict(conninfo_to_dict(conn.info.dsn))
    parts |= {"host": conn.info.host, "port": conn.info.port}
    if past is not None:
        # A pooler does not know logins that are made beside it.
        parts = dict(conninfo_to_dict(past))
    parts |= {"user": role, "password": password, "dbname": conn.info.dbname}
    parts.pop("options", None)
    return make_conninfo("", **{name: value for name, value in parts.items() if value})
