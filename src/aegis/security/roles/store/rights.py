"""SQL that reads rights, those on what is made later, and rules of rows from the catalog.

Each takes `names`, of the roles that count, and `schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from aegis.db import fetch_all
from aegis.security.roles.models import Default, Right, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.db import Connection

__all__ = ["list_defaults", "list_rights", "list_rules"]


async def list_rights(conn: Connection, wanted: Mapping[str, Any]) -> list[Right]:
    """Return the rights of the roles in `names`, and PUBLIC's, on what is in `schema`."""
    found: list[Right] = []
    for statement in _ACLS:
        found += await fetch_all(conn, Right, statement, wanted)
    return found


#: Each gives role, on, object, privilege and column; what owners have of themselves is left out.
_ACLS: Final[tuple[LiteralString, ...]] = (
    """
    SELECT
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS role,
        'database' AS "on",
        d.datname::text AS object,
        a.privilege_type AS privilege
    FROM pg_database d
    CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    WHERE d.datname = current_database()
      AND a.grantee <> d.datdba
      AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY (%(names)s))
    """,
    """
    SELECT
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS role,
        'schema' AS "on",
        n.nspname::text AS object,
        a.privilege_type AS privilege
    FROM pg_namespace n
    CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    WHERE n.nspname = %(schema)s
      AND a.grantee <> n.nspowner
      AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY (%(names)s))
    """,
    """
    SELECT
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS role,
        CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS "on",
        c.relname::text AS object,
        a.privilege_type AS privilege
    FROM pg_class c
    CROSS JOIN LATERAL aclexplode(
        coalesce(
            c.relacl,
            acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
        )
    ) a
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND a.grantee <> c.relowner
      AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY (%(names)s))
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    """,
    """
    SELECT
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS role,
        'column' AS "on",
        c.relname::text AS object,
        a.privilege_type AS privilege,
        t.attname::text AS "column"
    FROM pg_attribute t
    JOIN pg_class c ON c.oid = t.attrelid
    CROSS JOIN LATERAL aclexplode(t.attacl) a
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
      AND NOT t.attisdropped
      AND a.grantee <> c.relowner
      AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY (%(names)s))
    """,
    """
    SELECT
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS role,
        'function' AS "on",
        format('%%I(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS object,
        a.privilege_type AS privilege
    FROM pg_proc p
    CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
      AND a.grantee <> p.proowner
      AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY (%(names)s))
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    """,
    """
    SELECT pg_get_userbyid(a.grantee)::text AS role, 'catalog' AS "on", o.name AS object,
           a.privilege_type AS privilege
    FROM (
        SELECT c.relname::text AS name, c.relacl AS acl
        FROM pg_class c
        WHERE c.oid IN (
              'pg_catalog.pg_hba_file_rules'::regclass, 'pg_catalog.pg_file_settings'::regclass
        )
        UNION ALL
        SELECT p.proname || '()', p.proacl
        FROM pg_proc p
        WHERE p.oid IN (
              'pg_catalog.pg_hba_file_rules()'::regprocedure,
              'pg_catalog.pg_show_all_file_settings()'::regprocedure
        )
    ) o
    CROSS JOIN LATERAL aclexplode(o.acl) a
    WHERE pg_get_userbyid(a.grantee) = ANY (%(names)s)
    """,
)


async def list_defaults(conn: Connection, wanted: Mapping[str, Any]) -> list[Default]:
    """Return what our roles get of what the owner makes later, in this schema."""
    return await fetch_all(
        conn,
        Default,
        """
        SELECT
            pg_get_userbyid(a.grantee)::text AS role,
            CASE d.defaclobjtype
                WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                ELSE d.defaclobjtype::text
            END AS "on",
            a.privilege_type AS privilege
        FROM pg_default_acl d
        CROSS JOIN LATERAL aclexplode(d.defaclacl) a
        WHERE d.defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
          AND pg_get_userbyid(d.defaclrole) = ANY (%(names)s)
          AND pg_get_userbyid(a.grantee) = ANY (%(names)s)
        UNION
        -- Functions of the owner's that everybody may call from the start: one entry says no.
        SELECT 'PUBLIC', 'FUNCTIONS', 'NONE'
        FROM pg_default_acl d
        WHERE d.defaclnamespace = 0
          AND d.defaclobjtype = 'f'
          AND pg_get_userbyid(d.defaclrole) = ANY (%(names)s)
          AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0)
        """,
        wanted,
    )


async def list_rules(conn: Connection, wanted: Mapping[str, Any]) -> list[Rule]:
    """Return the policies on tables of `schema`; one narrowed to a verb or role is marked."""
    return await fetch_all(
        conn,
        Rule,
        """
        SELECT
            c.relname::text AS "table",
            p.polname::text AS name,
            p.polpermissive AS permissive,
            coalesce(pg_get_expr(p.polqual, p.polrelid), '')
                || CASE WHEN p.polcmd = '*' AND p.polroles = '{0}' THEN '' ELSE ' (narrowed)' END
                || CASE WHEN p.polwithcheck IS NULL THEN '' ELSE ' (checked apart)' END
                AS condition
        FROM pg_policy p
        JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
        ORDER BY 1, 2
        """,
        wanted,
    )
