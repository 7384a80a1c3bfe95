"""One synchronous connection for changing the schema, and what has to be true before.

An advisory lock, held by the session, keeps others from changing it at the same time; it goes with
the connection, so nothing has to be cleaned up after a crash.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from aegis.db.pooler import PID_SQL, needs_session, options_lost, parted_options, tell_pooling
from aegis.db.revision import HEAD, STATUS_SQL, TABLES, VERSIONS_SQL, SchemaStatus, classify
from aegis.db.translate import redact, translate, translated
from aegis.db.vigil import open_watched
from aegis.errors import OpsError

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from aegis.db.pooler import Pooling

__all__ = [
    "admin_connection",
    "exclusive_connection",
    "holders_of_locks",
    "read_status",
    "require_owner",
    "require_server",
]

#: Key of the advisory lock: "aegis" in ASCII.
LOCK_KEY: Final = 0x6165676973

#: How long to wait for another process, which may be building large indexes.
LOCK_WAIT_S: Final = 120

#: How long to wait for a server's first answer.
CONNECT_S: Final = 10.0

#: DDL that waits for a lock makes every later query of the table wait behind it: give up soon, and
#: try again.
DDL_LOCK_TIMEOUT_S: Final = 3.0

OLDEST_SERVER: Final = 16_00_00


@contextmanager
def admin_connection(
    dsn: str,
    *,
    application_name: str = "aegis-migrate",
    transactions: bool = False,
    stop: threading.Event | None = None,
    connect_s: float = CONNECT_S,
) -> Generator[psycopg.Connection]:
    """Lend a connection without a statement time-out, closed at the end.

    Statements end when the server stands still (`vigil.py`), and are cancelled once `stop` is set.
    `transactions` says that nothing outlasts one: such a connection may lead through a pooler that
    changes the server's process with each, and then has the server's own time-outs.

    Raises:
        ConfigError, Unavailable: the address is wrong, or nobody answers there; `db_needs_session`,
            a pooler by transactions answers.
        OpsError: `server_too_old`.
    """
    arguments: dict[str, Any] = {"application_name": application_name}
    with translated(dsn=dsn):
        conn = open_watched(dsn, within_s=connect_s, stop=stop, **arguments)
    try:
        _require_version(conn)
        pooling = _find_pooling(conn, dsn, arguments)
        given = () if pooling == "none" else parted_options(dsn)[0]
        if pooling == "transaction":
            if not transactions:
                raise needs_session("This", where=redact(dsn))
            if given:
                raise options_lost(given)
            conn.prepare_threshold = None
            yield conn
            return
        with translated():
            for setting in given:
                conn.execute("SELECT set_config(%s, %s, false)", setting)
            conn.execute("SET statement_timeout = 0")
            conn.execute("SET idle_in_transaction_session_timeout = 0")
            conn.execute("SET TimeZone = 'UTC'")
            conn.commit()
        yield conn
    finally:
        conn.close()


def _find_pooling(conn: psycopg.Connection, dsn: str, arguments: dict[str, Any]) -> Pooling:
    """Return by what the server's processes are lent, if anything lies between."""
    with translated(dsn=dsn):
        row: Any = conn.execute(PID_SQL).fetchone()
        conn.rollback()
        return "none" if row[0] == conn.info.backend_pid else tell_pooling(dsn, arguments)


@contextmanager
def exclusive_connection(dsn: str, *, wait_s: int = LOCK_WAIT_S) -> Generator[psycopg.Connection]:
    """Lend a connection that alone may change the schema, outside of any transaction.

    Raises:
        OpsError: `schema_busy`, another process has been at it for `wait_s`.
    """
    with admin_connection(dsn) as conn, translated():
        try:
            _set_lock_timeout(conn, wait_s)
            # Should we be gone, the server notices within a second and gives up the lock.
            conn.execute("SELECT set_config('client_connection_check_interval', '1s', false)")
            conn.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        except psycopg.errors.LockNotAvailable as error:
            raise OpsError(
                f"Another process has been changing the schema for {wait_s} s; try again when "
                "it is done.",
                code="schema_busy",
            ) from error
        _set_lock_timeout(conn, DDL_LOCK_TIMEOUT_S)
        _act_as_owner(conn)
        conn.commit()
        yield conn


def _act_as_owner(conn: psycopg.Connection) -> None:
    """Become the role that owns the tables, where roles were parted and the user may.

    What a superuser made would be the superuser's, beside tables of the owner's.
    """
    if conn.execute("SELECT to_regclass('security_roles')").fetchone() == (None,):
        return
    found: Any = conn.execute(
        """
        SELECT r.role_name
        FROM security_roles r
        JOIN pg_roles o ON o.rolname = r.role_name
        JOIN pg_class c ON c.oid = to_regclass('alembic_version')
        WHERE r.kind = 'owner'
          AND c.relowner = o.oid
          AND o.rolname <> current_user
          AND pg_has_role(current_user, o.oid, 'SET')
        """
    ).fetchone()
    if found is not None:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(found[0])))


def holders_of_locks(conn: psycopg.Connection) -> list[str]:
    """Return who has been holding locks on tables for longest, such as `pid 7 (psql, 40 s)`."""
    rows: Any = conn.execute(
        """
        SELECT
            a.pid,
            coalesce(nullif(a.application_name, ''), a.usename, '?'),
            extract(epoch FROM clock_timestamp() - a.xact_start)::int
        FROM pg_stat_activity a
        WHERE a.datname = current_database()
          AND a.pid <> pg_backend_pid()
          AND a.xact_start IS NOT NULL
          AND EXISTS (
              SELECT
              FROM pg_locks l
              JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = 'public'::regnamespace
              WHERE l.pid = a.pid
                AND l.granted
          )
        ORDER BY a.xact_start
        LIMIT 3
        """
    ).fetchall()
    return [f"pid {pid} ({name}, {seconds} s)" for pid, name, seconds in rows]


def require_owner(dsn: str, status: SchemaStatus) -> None:
    """Refuse in one line where the user may not change the schema.

    Raises:
        OpsError: `schema_needs_owner`.
    """
    with admin_connection(dsn, transactions=True) as conn, translated():
        found: Any = conn.execute(
            """
            SELECT
                current_user,
                coalesce(
                    (
                        SELECT pg_has_role(current_user, c.relowner, 'USAGE')
                            OR pg_has_role(current_user, c.relowner, 'SET')
                        FROM pg_class c
                        WHERE c.oid = to_regclass('alembic_version')
                    ),
                    has_schema_privilege(current_schema(), 'CREATE')
                )
            """
        ).fetchone()
    if not found[1]:
        at = "has no tables yet" if status.revision is None else f"is at {status.revision}"
        raise OpsError(
            f"The schema {at}, this Aegis needs {HEAD}, and {found[0]} may not change it: run "
            "`aegis db upgrade` with the owner's address in AEGIS_OWNER_URL.",
            code="schema_needs_owner",
        )


def _require_version(conn: psycopg.Connection) -> None:
    if conn.info.server_version < OLDEST_SERVER:
        raise OpsError(
            f"The server is PostgreSQL {conn.info.server_version // 10000}; Aegis needs 16 or "
            "later. Upgrade it with pg_upgrade, or point AEGIS_DATABASE_URL at another.",
            code="server_too_old",
        )


def _set_lock_timeout(conn: psycopg.Connection, seconds: float) -> None:
    conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{seconds:g}s",))


def read_status(conn: psycopg.Connection) -> SchemaStatus:
    """Return the schema's status, in the caller's transaction."""
    row: Any = conn.execute(STATUS_SQL, {"tables": list(TABLES)}).fetchone()
    versions = [version for (version,) in conn.execute(VERSIONS_SQL)] if row[0] else []
    return classify(has_version_table=row[0], comment=row[1], tables=row[2], versions=versions)


def require_server(conn: psycopg.Connection) -> None:
    """Look for what the first revision needs, so that its absence is one clear line.

    Raises:
        OpsError: `pgvector_missing`.
        Unavailable: `db_read_only`.
    """
    major = conn.info.server_version // 10000
    row: Any = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector'),
               EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector'),
               current_setting('transaction_read_only')::boolean
        """
    ).fetchone()
    conn.rollback()
    installed, available, read_only = row
    if read_only:
        raise translate(psycopg.errors.ReadOnlySqlTransaction("read-only"))
    if not installed and not available:
        raise OpsError(
            "The server has no pgvector; install it there (on Debian the package "
            f"postgresql-{major}-pgvector) and try again.",
            code="pgvector_missing",
        )
