"""SQL that reads which roles there are and what they may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aegis.db import fetch_all, fetch_value
from aegis.security.roles.models import Function, Relation, RoleState, State, Tenant
from aegis.security.roles.store import rights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "has_notes",
    "list_tenants",
    "lock",
    "may_read_tenants",
    "read_password",
    "read_state",
    "wait_little",
]

#: As that of changes of the schema (`db/admin.py`): rights are not given while tables are made.
_LOCK: Final = 0x6165676973


async def lock(conn: Connection) -> None:
    """Let one session at a time change roles or the schema, until the transaction ends."""
    await fetch_value(conn, "SELECT pg_advisory_xact_lock(%(key)s)", {"key": _LOCK})


async def read_state(conn: Connection, names: Sequence[str]) -> State:
    """Return what the server and the database are like, for roles of these names and tenants."""
    cursor = await conn.execute(
        """
        SELECT
            current_database()::text,
            pg_get_userbyid(d.datdba)::text,
            (
                SELECT n.nspname::text
                FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid = to_regclass('alembic_version')
            ),
            current_setting('server_version_num')::int,
            current_user::text,
            r.rolsuper,
            r.rolcreaterole
        FROM pg_roles r
        JOIN pg_database d ON d.datname = current_database()
        WHERE r.rolname = current_user
        """
    )
    row: Any = await cursor.fetchone()
    database, owner, schema, version, user, superuser, create_role = row
    noted = await _noted(conn)
    tenants = await _tenant_names(conn)
    wanted = {"names": [*names, *tenants], "schema": schema}
    return State(
        database=database,
        database_owner=owner,
        schema=schema or "",
        beside=tuple(await _beside(conn, wanted)),
        version_num=version,
        user=user,
        superuser=superuser,
        create_role=create_role,
        roles={r.name: r for r in await _roles(conn, wanted)},
        relations=await _relations(conn, wanted),
        functions=await _functions(conn, wanted),
        types=await _types(conn, wanted),
        rights=frozenset(await rights.list_rights(conn, wanted)),
        defaults=frozenset(await rights.list_defaults(conn, wanted)),
        rules=frozenset(await rights.list_rules(conn, wanted)),
        noted=noted,
        tenants=tenants,
    )


async def _beside(conn: Connection, wanted: dict[str, Any]) -> list[str]:
    cursor = await conn.execute(
        """
        SELECT DISTINCT n.nspname::text
        FROM pg_extension e
        JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname IN ('vector', 'pg_trgm', 'uuid-ossp', 'pgcrypto')
          AND n.nspname NOT IN (%(schema)s, 'pg_catalog')
        ORDER BY 1
        """,
        wanted,
    )
    return [name for (name,) in await cursor.fetchall()]


async def _noted(conn: Connection) -> dict[str, str]:
    if not await _readable(conn, "security_roles"):
        return {}
    cursor = await conn.execute("SELECT kind, role_name FROM security_roles")
    return dict(await cursor.fetchall())


async def _tenant_names(conn: Connection) -> list[str]:
    if not await _readable(conn, "security_tenants"):
        return []
    cursor = await conn.execute("SELECT role_name FROM security_tenants ORDER BY 1")
    return [name for (name,) in await cursor.fetchall()]


async def _readable(conn: Connection, table: str) -> bool:
    return bool(
        await fetch_value(
            conn,
            "SELECT coalesce(has_table_privilege(to_regclass(%(table)s), 'SELECT'), false)",
            {"table": table},
        )
    )


async def _roles(conn: Connection, wanted: dict[str, Any]) -> list[RoleState]:
    return await fetch_all(
        conn,
        RoleState,
        """
        SELECT
            r.rolname::text AS name,
            r.rolcanlogin AS login,
            r.rolsuper AS superuser,
            r.rolcreatedb AS create_db,
            r.rolcreaterole AS create_role,
            r.rolreplication AS replication,
            r.rolbypassrls AS bypass_rls,
            r.rolconnlimit AS connections,
            (
                SELECT coalesce(array_agg(g.rolname::text ORDER BY g.rolname), '{}')
                FROM pg_auth_members m
                JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = r.oid
            ) AS member_of,
            coalesce(
                (
                    SELECT s.setconfig
                    FROM pg_db_role_setting s
                    JOIN pg_database d ON d.oid = s.setdatabase
                    WHERE s.setrole = r.oid
                      AND d.datname = current_database()
                ),
                '{}'
            ) AS settings
        FROM pg_roles r
        WHERE r.rolname = ANY (%(names)s)
        ORDER BY 1
        """,
        wanted,
    )


async def _relations(conn: Connection, wanted: dict[str, Any]) -> list[Relation]:
    return await fetch_all(
        conn,
        Relation,
        """
        SELECT
            c.relname::text AS name,
            CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind,
            pg_get_userbyid(c.relowner)::text AS owner,
            coalesce(
                (SELECT t.relname FROM pg_class t WHERE t.oid = pg_partition_root(c.oid)),
                (
                    SELECT t.relname
                    FROM pg_depend d
                    JOIN pg_class t ON t.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass
                      AND d.refclassid = 'pg_class'::regclass
                      AND d.objid = c.oid
                      AND d.deptype IN ('a', 'i')
                      AND c.relkind = 'S'
                ),
                -- A month that was taken out, on its way to be dropped.
                substring(c.relname FROM '^(api_usage_events)_\\d{4}_\\d{2}$'),
                c.relname
            )::text AS root,
            (
                SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}')
                FROM pg_attribute a
                WHERE a.attrelid = c.oid
                  AND a.attnum > 0
                  AND NOT a.attisdropped
            ) AS columns,
            c.relrowsecurity AS row_security,
            c.relforcerowsecurity AS forced
        FROM pg_class c
        WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
          AND c.relkind IN ('r', 'p', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        ORDER BY 1
        """,
        wanted,
    )


async def _functions(conn: Connection, wanted: dict[str, Any]) -> list[Function]:
    return await fetch_all(
        conn,
        Function,
        """
        SELECT
            format(
                '%%I(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)
            ) AS name,
            p.proname::text AS plain,
            pg_get_userbyid(p.proowner)::text AS owner,
            p.prorettype = 'trigger'::regtype AS is_trigger
        FROM pg_proc p
        WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        ORDER BY 1
        """,
        wanted,
    )


async def _types(conn: Connection, wanted: dict[str, Any]) -> dict[str, str]:
    cursor = await conn.execute(
        """
        SELECT t.typname::text, pg_get_userbyid(t.typowner)::text
        FROM pg_type t
        WHERE t.typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
          AND t.typname = 'memory_importance'
          AND t.typtype = 'e'
        """,
        wanted,
    )
    return dict(await cursor.fetchall())


async def list_tenants(conn: Connection) -> list[Tenant]:
    """Return the tenants, by name."""
    return await fetch_all(
        conn,
        Tenant,
        """
        SELECT
            t.role_name,
            t.namespace,
            t.customer_id,
            t.created_at,
            coalesce(r.rolcanlogin, false) AS can_log_in
        FROM security_tenants t
        LEFT JOIN pg_roles r ON r.rolname = t.role_name
        ORDER BY t.role_name
        """,
    )


async def read_password(conn: Connection, role: str) -> str | None:
    """Return what the server keeps of a role's password, None for none (superusers alone may)."""
    return await fetch_value(
        conn, "SELECT rolpassword FROM pg_authid WHERE rolname = %(role)s", {"role": role}
    )


async def wait_little(conn: Connection) -> None:
    """Have statements of this transaction wait for locks briefly, and run as long as it takes."""
    await conn.execute("SET LOCAL lock_timeout = '5s'")
    await conn.execute("SET LOCAL statement_timeout = 0")


async def has_notes(conn: Connection) -> bool:
    """Return whether any role was written down in this database."""
    return bool(
        await _readable(conn, "security_roles")
        and await fetch_value(conn, "SELECT EXISTS (SELECT FROM security_roles)")
    )


async def may_read_tenants(conn: Connection) -> bool:
    """Return whether the user may see who is a tenant."""
    return await _readable(conn, "security_tenants")
