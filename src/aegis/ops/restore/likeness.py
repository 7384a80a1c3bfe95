"""What belongs to a database and is in no dump of it: its owner, its grants, settings by role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from psycopg import sql

from aegis.ops.restore.settings import setting_value, split_setting

if TYPE_CHECKING:
    from typing import LiteralString

    import psycopg

__all__ = ["take_after"]


def take_after(conn: psycopg.Connection, old: str, new: str) -> None:
    """Give the database `new` the owner, grants and roles' settings of `old`."""
    row: Any = conn.execute(
        "SELECT pg_get_userbyid(datdba)::text, datacl IS NULL, pg_get_userbyid(datdba) = "
        "current_user FROM pg_database WHERE datname = %s",
        (old,),
    ).fetchone()
    if row is None:
        return
    name = sql.Identifier(new)
    owner, plain, ours = row
    if not plain:
        _grant(conn, old, new)
    for role, key, value in _role_settings(conn, old):
        conn.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
                sql.Identifier(role), name, sql.Identifier(key), setting_value(key, value)
            )
        )
    if not ours:
        # Last: afterwards the rest may not be ours to change.
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(owner)))


def _grant(conn: psycopg.Connection, old: str, new: str) -> None:
    rows: list[Any] = conn.execute(
        """
        SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END,
               a.privilege_type,
               a.is_grantable
        FROM pg_database d
        CROSS JOIN LATERAL aclexplode(d.datacl) AS a
        WHERE d.datname = %s
          AND a.grantee <> d.datdba
        """,
        (old,),
    ).fetchall()
    name = sql.Identifier(new)
    conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for role, privilege, grantable in rows:
        conn.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                # One of PostgreSQL's own few words, from its own catalogue.
                sql.SQL(cast("LiteralString", privilege)),
                name,
                sql.SQL("PUBLIC") if role is None else sql.Identifier(role),
                sql.SQL(" WITH GRANT OPTION" if grantable else ""),
            )
        )


def _role_settings(conn: psycopg.Connection, old: str) -> list[tuple[str, str, str]]:
    rows: list[Any] = conn.execute(
        """
        SELECT pg_get_userbyid(s.setrole)::text, t.text
        FROM pg_db_role_setting s
        JOIN pg_database d ON d.oid = s.setdatabase
        CROSS JOIN LATERAL unnest(s.setconfig) AS t (text)
        WHERE d.datname = %s
          AND s.setrole <> 0
        """,
        (old,),
    ).fetchall()
    return [(role, *split_setting(text)) for role, text in rows]
