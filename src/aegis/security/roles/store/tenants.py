"""SQL that makes logins of tenants and takes them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["create_login", "delete_tenant", "drop_login", "insert_tenant", "role_exists"]


async def role_exists(conn: Connection, name: str) -> bool:
    """Return whether the server has a role of this name."""
    return bool(
        await fetch_value(
            conn,
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(name)s)",
            {"name": name},
        )
    )


async def create_login(
    conn: Connection,
    name: str,
    group: str,
    *,
    verifier: str,
    connections: int,
    settings: dict[str, tuple[str, ...]],
) -> None:
    """Make a login that has what the group has, and cannot become it or anybody else."""
    role = sql.Identifier(name)
    await conn.execute(
        sql.SQL(
            "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT "
            "NOBYPASSRLS CONNECTION LIMIT {} PASSWORD {}"
        ).format(role, sql.Literal(connections), sql.Literal(verifier))
    )
    await conn.execute(
        sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(sql.Identifier(group), role)
    )
    database: Any = await fetch_value(conn, "SELECT current_database()")
    for setting, value in settings.items():
        await conn.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
                role,
                sql.Identifier(database),
                sql.Identifier(setting),
                sql.SQL(", ").join(sql.Literal(part) for part in value),
            )
        )


async def drop_login(conn: Connection, name: str) -> int:
    """End a login's sessions and take it away; return how many sessions it had.

    The caller has committed that it is nobody any more: a session that goes on until then sees
    nothing.
    """
    ended = await fetch_value(
        conn,
        """
        SELECT count(pg_terminate_backend(pid))
        FROM pg_stat_activity
        WHERE usename = %(name)s
        """,
        {"name": name},
    )
    await conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    await conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    return int(ended)


async def insert_tenant(
    conn: Connection, name: str, *, namespace: str | None, customer_id: str | None
) -> None:
    """Write down whose rows a login sees."""
    await execute(
        conn,
        """
        INSERT INTO security_tenants (role_name, namespace, customer_id)
        VALUES (%(name)s, %(namespace)s, %(customer_id)s)
        """,
        {"name": name, "namespace": namespace, "customer_id": customer_id},
    )


async def delete_tenant(conn: Connection, name: str) -> int:
    """Forget whose rows a login sees: from then on it sees none."""
    return await execute(
        conn, "DELETE FROM security_tenants WHERE role_name = %(name)s", {"name": name}
    )
