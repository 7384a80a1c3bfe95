"""The server that is restored to: its databases, what it has, and the switch by rename."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db.admin import CONNECT_S, admin_connection
from aegis.db.translate import translated
from aegis.db.vigil import answers
from aegis.errors import AegisError, ConfigError, Conflict, OpsError
from aegis.ops.restore.settings import setting_value, split_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

__all__ = [
    "MARK",
    "TEMPORARY",
    "Facts",
    "alone",
    "create_database",
    "drop_database",
    "drop_leftovers",
    "drop_unfinished",
    "ending_clients",
    "finish_database",
    "look",
    "maintenance",
    "switch",
]

#: Key of the advisory lock: "restore" in ASCII.
LOCK_KEY = 0x726573746F7265
#: How the comment of a database begins that a restore is filling.
MARK = "aegis restore, unfinished"
#: How its name begins, before twelve hexadecimal digits.
TEMPORARY = "aegis_restoring_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a server has."""

    version_num: int
    databases: frozenset[str]
    roles: frozenset[str]
    #: Extensions that can be made, with their newest versions.
    extensions: dict[str, str]
    may_create: bool
    superuser: bool
    #: Of the extensions, those that the user may not make.
    forbidden: frozenset[str]
    #: Whether the live database is the user's, so that it can be renamed.
    owns_live: bool
    #: Roles with settings of their own in the live database that the user cannot give.
    tied: tuple[str, ...]
    #: Roles that are connected to the live database and that the user may not disconnect.
    strangers: tuple[str, ...]
    user: str
    #: Free bytes where its data lies; None where that is not on this machine.
    free_bytes: int | None
    #: Why the user cannot get into another database than the live one; None where he can.
    kept_out: str | None = None


@contextmanager
def maintenance(dsn: str, *, connect_s: float = CONNECT_S) -> Generator[psycopg.Connection]:
    """Lend a connection in autocommit mode to a database that is not the one of `dsn`."""
    other = _other_database(dsn)
    with (
        translated(dsn=other),
        admin_connection(other, application_name="aegis-restore", connect_s=connect_s) as conn,
    ):
        conn.autocommit = True
        yield conn


def _other_database(dsn: str) -> str:
    name = conninfo_to_dict(dsn).get("dbname")
    return make_conninfo(dsn, dbname="template1" if name == "postgres" else "postgres")


def look(dsn: str) -> Facts:
    """Return what the server has, and what the user of `dsn` may do there.

    Asked in the live database, where there is one: tables go back into it for whom no other opens.
    """
    live = str(conninfo_to_dict(dsn).get("dbname") or "")
    kept_out: str | None = None
    try:
        with maintenance(dsn) as conn:
            return facts(conn, live)
    except ConfigError as error:
        if error.code != "db_login_refused":
            raise
        kept_out = error.message.partition("FATAL:")[2].partition("). ")[0].strip() or error.message
    with translated(dsn=dsn), admin_connection(dsn, application_name="aegis-restore") as conn:
        return replace(facts(conn, live), kept_out=kept_out)


def facts(conn: psycopg.Connection, live: str) -> Facts:
    """Return what the server has, and what the user may do; `live` is the database in question."""
    row: Any = conn.execute(
        """
        SELECT current_setting('server_version_num')::int,
               (SELECT array_agg(datname::text) FROM pg_database),
               (SELECT array_agg(rolname::text) FROM pg_roles),
               (
                   SELECT jsonb_object_agg(name, coalesce(default_version, ''))
                   FROM pg_available_extensions
               ),
               rolsuper OR rolcreatedb,
               rolname::text,
               CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                    THEN current_setting('data_directory') END,
               (
                   SELECT coalesce(array_agg(DISTINCT e.name::text), '{}')
                   FROM pg_available_extensions e
                   JOIN pg_available_extension_versions v
                       ON v.name = e.name AND v.version = e.default_version
                   WHERE v.superuser
                     AND NOT v.trusted
                     AND NOT u.rolsuper
               ),
               EXISTS (
                   SELECT
                   FROM pg_database d
                   WHERE d.datname = %(live)s
                     AND pg_has_role(d.datdba, 'USAGE')
               ),
               (
                   SELECT coalesce(array_agg(s.setrole::regrole::text ORDER BY 1), '{}')
                   FROM pg_db_role_setting s
                   JOIN pg_database d ON d.oid = s.setdatabase
                   WHERE d.datname = %(live)s
                     AND s.setrole NOT IN (0, u.oid)
                     AND NOT u.rolsuper
                     AND NOT (
                         u.rolcreaterole
                         AND pg_has_role(s.setrole, 'MEMBER WITH ADMIN OPTION')
                     )
               ),
               (
                   SELECT coalesce(array_agg(DISTINCT a.usename::text), '{}')
                   FROM pg_stat_activity a
                   JOIN pg_roles r ON r.oid = a.usesysid
                   WHERE a.datname = %(live)s
                     AND a.pid <> pg_backend_pid()
                     AND a.backend_type = 'client backend'
                     AND NOT u.rolsuper
                     AND NOT pg_has_role(a.usesysid, 'USAGE')
                     AND NOT (pg_has_role('pg_signal_backend', 'USAGE') AND NOT r.rolsuper)
               ),
               rolsuper
        FROM pg_roles u
        WHERE rolname = current_user
        """,
        {"live": live},
    ).fetchone()
    return Facts(
        version_num=row[0],
        databases=frozenset(row[1]),
        roles=frozenset(row[2]),
        extensions=row[3],
        may_create=row[4],
        user=row[5],
        free_bytes=_free(row[6]),
        superuser=row[11],
        forbidden=frozenset(row[7]),
        owns_live=row[8],
        tied=tuple(row[9]),
        strangers=tuple(row[10]),
    )


def _free(data_directory: str | None) -> int | None:
    # The same path may exist on another machine, but not with a cluster in it that we may see.
    if data_directory is None:
        return None
    try:
        return shutil.disk_usage(Path(data_directory)).free
    except OSError:
        return None


@contextmanager
def alone(conn: psycopg.Connection) -> Generator[None]:
    """Hold the advisory lock of restores on the server (`Conflict`: `restore_running`)."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
    if row is None or not row[0]:
        raise Conflict(
            "Another restore is at work on this server; wait for its end.", code="restore_running"
        )
    conn.execute("SELECT set_config('client_connection_check_interval', '1s', false)")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))


def drop_leftovers(conn: psycopg.Connection) -> list[str]:
    """Drop what killed restores left, and return its names; call it alone."""
    rows: list[Any] = conn.execute(
        """
        SELECT datname::text
        FROM pg_database
        WHERE pg_has_role(datdba, 'USAGE')
          AND (
              starts_with(shobj_description(oid, 'pg_database'), %(mark)s)
              -- Killed between making it and marking it.
              OR (
                  datname ~ %(name)s
                  AND shobj_description(oid, 'pg_database') IS NULL
              )
          )
        """,
        {"mark": MARK, "name": f"^{TEMPORARY}[0-9a-f]{{12}}$"},
    ).fetchall()
    for (name,) in rows:
        drop_database(conn, name)
    return [name for (name,) in rows]


def create_database(conn: psycopg.Connection, name: str, properties: Mapping[str, Any]) -> None:
    """Make an empty database with the encoding and locale of the one that was dumped.

    Raises:
        OpsError: `restore_refused`, the server may not or cannot.
    """
    options: list[sql.Composable] = [sql.SQL("TEMPLATE template0")]
    if properties.get("encoding"):
        options.append(sql.SQL("ENCODING {}").format(sql.Literal(properties["encoding"])))
    if properties.get("collate"):
        options.append(sql.SQL("LC_COLLATE {}").format(sql.Literal(properties["collate"])))
        options.append(sql.SQL("LC_CTYPE {}").format(sql.Literal(properties["ctype"])))
    provider, locale = properties.get("provider"), properties.get("locale")
    if provider == "b" and locale and conn.info.server_version >= 17_00_00:
        options.append(sql.SQL("LOCALE_PROVIDER builtin"))
        options.append(sql.SQL("BUILTIN_LOCALE {}").format(sql.Literal(locale)))
    elif provider == "i" and locale:
        options.append(sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(locale)))
    elif provider == "c":
        options.append(sql.SQL("LOCALE_PROVIDER libc"))
    try:
        conn.execute(
            sql.SQL("CREATE DATABASE {} {}").format(
                sql.Identifier(name), sql.SQL(" ").join(options)
            )
        )
    except psycopg.Error as error:
        raise OpsError(
            f"The database {name} cannot be made: {error.diag.message_primary or error}",
            code="restore_refused",
        ) from error
    conn.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(MARK))
    )


def finish_database(conn: psycopg.Connection, name: str, settings: list[str], text: str) -> None:
    """Give a restored database its own settings, and take the mark off."""
    for setting in settings:
        key, value = split_setting(setting)
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
                sql.Identifier(name), sql.Identifier(key), setting_value(key, value)
            )
        )
    conn.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text))
    )


def drop_unfinished(conn: psycopg.Connection, dsn: str, name: str) -> None:
    """Drop what a restore did not finish; where the server does not answer, the next one does."""
    if conn.closed:
        return
    if not answers(dsn):
        conn.close()
        return
    with suppress(psycopg.Error):
        drop_database(conn, name)


def drop_database(conn: psycopg.Connection, name: str) -> None:
    """Drop a database and end whoever is connected to it."""
    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def switch(
    conn: psycopg.Connection,
    dsn: str,
    *,
    new: str,
    name: str,
    kept_as: str | None,
    prepare: Callable[[], None],
) -> None:
    """Let `new` take the name `name`, and what has it become `kept_as`: both or neither.

    Nothing has it where `kept_as` is None. `prepare` runs first, in the same transaction. Clients
    are disconnected; who connects meanwhile waits, and finds the new database.

    Raises:
        OpsError: `restore_switch`, clients could not be disconnected; nothing was changed.
    """
    # Somebody may look into every database that there is.
    with ending_clients(dsn, *((new,) if kept_as is None else (name, new))):
        for attempt in range(5):
            try:
                with conn.transaction():
                    prepare()
                    # It waits some seconds for clients to go, and lets no new ones in.
                    if kept_as is not None:
                        _rename(conn, name, kept_as)
                    _rename(conn, new, name)
            except pg.ObjectInUse as error:
                if attempt == 4:
                    raise OpsError(
                        f"The database is in use, and its clients could not be disconnected; "
                        f"{name} is as it was ({error.diag.message_detail or error}).",
                        code="restore_switch",
                    ) from error
            else:
                return


@contextmanager
def ending_clients(dsn: str, *names: str) -> Generator[None]:
    """Disconnect whoever is connected to these databases, for as long as the block takes.

    A pooler by sessions keeps connections that nobody uses.
    """
    done = threading.Event()
    work = (_end_clients, dsn, names, done)
    helper = threading.Thread(target=copy_context().run, args=work, daemon=True)
    helper.start()
    try:
        yield
    finally:
        done.set()
        helper.join()


def _rename(conn: psycopg.Connection, name: str, to: str) -> None:
    conn.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(to))
    )


def _end_clients(dsn: str, names: tuple[str, ...], done: threading.Event) -> None:
    with suppress(psycopg.Error, AegisError), maintenance(dsn) as conn:
        while not done.is_set():
            conn.execute(
                """
                SELECT pg_terminate_backend(pid)
                FROM pg_stat_activity
                WHERE datname = ANY (%s)
                  AND pid <> pg_backend_pid()
                """,
                (list(names),),
            )
            time.sleep(0.1)
