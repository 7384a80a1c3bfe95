"""Move a database between revisions of the schema, and say where it stands.

One process at a time: an advisory lock is held from looking to the last commit. Each revision is a
transaction of its own, so whatever happens in between the database is at a valid revision. All of
this is synchronous, because Alembic is; call it in a thread from async code. A DSN is handed to
psycopg as it is (URL or `key=value`), never taken apart for SQLAlchemy.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from aegis.db.revision import (
    HEAD,
    STATUS_SQL,
    TABLES,
    VERSION_TABLE_COMMENT,
    VERSIONS_SQL,
    SchemaState,
    SchemaStatus,
    classify,
    require_current,
)
from aegis.db.translate import translate, translated
from aegis.errors import InvalidInput, OpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa
    from alembic.config import Config
    from alembic.script import ScriptDirectory

__all__ = [
    "Revision",
    "check",
    "current",
    "downgrade",
    "head",
    "history",
    "revision",
    "state",
    "status",
    "upgrade",
]

MIGRATIONS: Final = Path(__file__).parent / "migrations"

#: Key of the advisory lock that serialises every change of the schema: "aegis" in ASCII.
LOCK_KEY: Final = 0x6165676973

#: Wait for another process's upgrade, which may build large indexes.
LOCK_WAIT: Final = "120s"

#: DDL that waits for a lock makes every later query of the table wait too: give up soon.
DDL_LOCK_TIMEOUT: Final = "10s"

OLDEST_SERVER: Final = 160000


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One step of the schema's history."""

    id: str
    #: The revision before it; None for the first.
    down: str | None
    message: str


def head() -> str:
    """Return the newest revision that the migration files hold."""
    found = _script().get_current_head()
    assert found is not None
    return found


def history() -> list[Revision]:
    """Return every revision, oldest first."""
    revisions = [
        Revision(id=script.revision, down=_single(script.down_revision), message=script.doc)
        for script in _script().walk_revisions()
    ]
    return revisions[::-1]


def status(dsn: str) -> SchemaStatus:
    """Return what the database says about its schema."""
    with _connect(dsn) as conn, translated():
        return _status(conn)


def state(dsn: str) -> SchemaState:
    """Return where the database stands in relation to this code."""
    return status(dsn).state


def current(dsn: str) -> str | None:
    """Return the database's revision, or None when it has none that Aegis wrote."""
    found = status(dsn)
    return None if found.state == "foreign" else found.revision


def upgrade(dsn: str, target: str = "head") -> str | None:
    """Bring the database up to `target` and return the revision it had before.

    Raises:
        OpsError: the server is too old or has no pgvector, the schema is foreign, unversioned or
            newer than this code, another process holds the lock, or a revision failed.
        InvalidInput: `target` is not a revision.
    """
    with _exclusive(dsn) as conn:
        _require_server(conn)
        before = _status(conn)
        if before.state not in ("empty", "behind", "current"):
            require_current(before)
        _run("upgrade", conn, target)
        _add_model_indexes(conn)
        return before.revision


def downgrade(dsn: str, target: str) -> str | None:
    """Take the database back to `target` (`base` for none) and return the revision it had.

    A table, column or row that the older schema cannot hold is lost or, where a revision says so,
    refused: dump first (`aegis.db.dump`).

    Raises:
        OpsError: as `upgrade`, or a revision cannot be undone with the rows that exist.
        InvalidInput: `target` is not a revision.
    """
    with _exclusive(dsn) as conn:
        before = _status(conn)
        if before.state == "empty":
            raise OpsError("The database has no Aegis tables to downgrade.", code="schema_empty")
        if before.state not in ("behind", "current"):
            require_current(before)
        _run("downgrade", conn, target)
        return before.revision


def check(dsn: str) -> list[str]:
    """Return how the database differs from the schema of this code; empty means clean.

    Raises:
        OpsError: the database is not at this code's revision, so that comparing says nothing.
    """
    from aegis.db.autogenerate import drift

    with _connect(dsn) as conn, translated():
        require_current(_status(conn))
        conn.rollback()
        with _sqlalchemy(conn) as connection:
            return drift(connection)


def revision(message: str, *, autogenerate: bool, dsn: str) -> Path:
    """Write a new revision file after the head and return its path; for developers of Aegis.

    Raises:
        InvalidInput: the message is empty.
        OpsError: the database is not at the head, or the folder is not writable.
    """
    from alembic import command

    if not message.strip():
        raise InvalidInput("A revision needs a message that says what it changes.")
    number = f"{int(head()) + 1:04d}"
    with _connect(dsn) as conn:
        require_current(_status(conn))
        conn.rollback()
        with _sqlalchemy(conn) as connection, _alembic_errors():
            script: Any = command.revision(
                _config(connection), message, autogenerate=autogenerate, rev_id=number
            )
    return Path(script.path)


def _single(down: Any) -> str | None:
    assert down is None or isinstance(down, str), "the history has no branches"
    return down


def _config(connection: sa.Connection | None = None) -> Config:
    import io

    from alembic.config import Config

    config = Config(stdout=io.StringIO(), attributes={"connection": connection})
    # ConfigParser interpolates: a percent sign in the path must be doubled.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def _script() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


@contextmanager
def _connect(dsn: str) -> Iterator[psycopg.Connection]:
    """Lend a connection without a statement time-out, closed at the end."""
    with translated(dsn=dsn):
        conn = psycopg.connect(dsn, application_name="aegis-migrate", connect_timeout=10)
    try:
        with translated():
            conn.execute("SET statement_timeout = 0")
            conn.execute("SET idle_in_transaction_session_timeout = 0")
            conn.execute("SET TimeZone = 'UTC'")
            conn.commit()
        yield conn
    finally:
        conn.close()


@contextmanager
def _exclusive(dsn: str) -> Iterator[psycopg.Connection]:
    """Lend a connection that holds the schema's lock; closing it lets go, as does a crash."""
    with _connect(dsn) as conn:
        try:
            conn.execute("SELECT set_config('lock_timeout', %s, false)", (LOCK_WAIT,))
            conn.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        except psycopg.errors.LockNotAvailable as error:
            raise OpsError(
                f"Another process has been changing the schema for {LOCK_WAIT}; try again when "
                "it is done.",
                code="schema_busy",
            ) from error
        with translated():
            conn.execute("SELECT set_config('lock_timeout', %s, false)", (DDL_LOCK_TIMEOUT,))
            conn.commit()
        with translated():
            yield conn


def _status(conn: psycopg.Connection) -> SchemaStatus:
    """Return the schema's status and end the transaction that looking began."""
    row: Any = conn.execute(STATUS_SQL, {"tables": list(TABLES)}).fetchone()
    versions = [version for (version,) in conn.execute(VERSIONS_SQL)] if row[0] else []
    conn.rollback()
    return classify(has_version_table=row[0], comment=row[1], tables=row[2], versions=versions)


def _require_server(conn: psycopg.Connection) -> None:
    """Look for what the first revision needs, so that its absence is one clear line."""
    if conn.info.server_version < OLDEST_SERVER:
        raise OpsError(
            f"PostgreSQL {conn.info.server_version // 10000} is too old; Aegis needs 16 or later.",
            code="server_too_old",
        )
    row: Any = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector'),
               EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector'),
               pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
        """
    ).fetchone()
    conn.rollback()
    installed, available, read_only = row
    if read_only:
        raise translate(psycopg.errors.ReadOnlySqlTransaction("read-only"))
    if not installed and not available:
        raise OpsError(
            "The server has no pgvector; install it there (Debian: "
            f"postgresql-{conn.info.server_version // 10000}-pgvector) and try again.",
            code="pgvector_missing",
        )


def _run(direction: str, conn: psycopg.Connection, target: str) -> None:
    from alembic import command

    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS alembic_version (
            version_num VARCHAR(32) NOT NULL,
            CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
        )
        """
    )
    _claim_version_table(conn)
    conn.commit()
    run = command.upgrade if direction == "upgrade" else command.downgrade
    with _sqlalchemy(conn) as connection, _alembic_errors():
        run(_config(connection), target)


def _add_model_indexes(conn: psycopg.Connection) -> None:
    """Build the indexes that an old pgvector could not; nothing to do on most days."""
    if (_status(conn).revision or "") >= "0003":
        script: Any = _script().get_revision("0003")
        conn.execute(script.module.MODEL_INDEXES)
        conn.commit()


def _claim_version_table(conn: psycopg.Connection) -> None:
    """Mark `alembic_version` as ours, if it is not marked yet."""
    comment: Any = conn.execute(
        "SELECT coalesce(obj_description('alembic_version'::regclass, 'pg_class'), '')"
    ).fetchone()
    if not comment[0].startswith(VERSION_TABLE_COMMENT):
        conn.execute(
            psycopg.sql.SQL("COMMENT ON TABLE alembic_version IS {}").format(VERSION_TABLE_COMMENT)
        )


@contextmanager
def _sqlalchemy(conn: psycopg.Connection) -> Iterator[sa.Connection]:
    """Lend `conn` to SQLAlchemy, which may commit on it and must not close it."""
    import sqlalchemy as sa

    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: conn, poolclass=sa.StaticPool
    )
    # Comments are written by migrations and held by them alone; the metadata has none to compare.
    engine.dialect.supports_comments = False
    connection = engine.connect()
    try:
        yield connection
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise _explained(error.orig) from error
        raise
    finally:
        if not connection.closed:
            connection.rollback()
            connection.detach()


def _explained(error: psycopg.Error) -> Exception:
    """Return what a failed revision means; the database stays at the revision before it."""
    if isinstance(error, psycopg.errors.RaiseException) and error.diag.message_primary:
        # Raised by a revision itself, in words for people.
        return OpsError(error.diag.message_primary, code="migration_refused")
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and "vector" in str(error):
        return OpsError(
            "The database user may not create the extension pgvector; let an administrator run "
            "`CREATE EXTENSION vector` in this database, then try again.",
            code="pgvector_forbidden",
        )
    return translate(error)


@contextmanager
def _alembic_errors() -> Iterator[None]:
    from alembic.util.exc import CommandError

    try:
        yield
    except CommandError as error:
        raise InvalidInput(
            f"{error}. The revisions are {', '.join(r.id for r in history())}; the newest is {HEAD}."
        ) from error
