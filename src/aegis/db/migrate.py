"""Move a database between revisions of the schema, and say where it stands.

One process at a time, by `exclusive_connection`. Each revision is a transaction of its own, so
whatever happens in between the database is at a valid revision. All of this is synchronous,
because Alembic is; call it in a thread from async code. A DSN is handed to psycopg as it is (URL
or `key=value`), never taken apart for SQLAlchemy.
"""

from __future__ import annotations

import re
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import sql

from aegis.db.admin import (
    admin_connection,
    exclusive_connection,
    holders_of_locks,
    read_status,
    require_server,
)
from aegis.db.revision import (
    HEAD,
    VERSION_TABLE_COMMENT,
    SchemaState,
    SchemaStatus,
    require_current,
)
from aegis.db.translate import translate, translated
from aegis.errors import AegisError, InvalidInput, OpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import sqlalchemy as sa
    from alembic.config import Config
    from alembic.script import ScriptDirectory

__all__ = [
    "Revision",
    "between_readers",
    "check",
    "current",
    "destination",
    "downgrade",
    "head",
    "history",
    "revision",
    "settled_status",
    "state",
    "status",
    "upgrade",
]

T = TypeVar("T")

FIRST: Final = "0001"

#: Seconds between tries to get a table from those who read it: a minute or so in all. A revision
#: that gave up is at the one before it, and the next try goes on from there.
PAUSES_S: Sequence[float] = (0.5, 1, 2, 3, 5, 5, 8, 8)

MIGRATIONS: Final = Path(__file__).parent / "migrations"

#: As Alembic makes it; made before, so that it can be marked as ours.
CREATE_VERSION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""


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
    with admin_connection(dsn, transactions=True) as conn, translated():
        return read_status(conn)


def settled_status(dsn: str) -> SchemaStatus:
    """Return the schema's status once nobody is changing it (`OpsError`: that takes too long)."""
    with exclusive_connection(dsn) as conn:
        return read_status(conn)


def state(dsn: str) -> SchemaState:
    """Return where the database stands in relation to this code."""
    return status(dsn).state


def current(dsn: str) -> str | None:
    """Return the database's revision, or None when it has none that Aegis wrote."""
    found = status(dsn)
    return None if found.state == "foreign" else found.revision


def destination(before: str | None, target: str) -> str | None:
    """Return the revision that `target` means to a database at `before`; None for `base`.

    Raises:
        InvalidInput: `target` is not a revision, `head`, `base`, nor so many steps up or down.
    """
    from alembic.util.exc import CommandError

    with _alembic_errors():
        if not re.fullmatch(r"[+-]\d{1,4}", target):
            script: Any = _script().get_revision(target)
            return None if script is None else script.revision
        known = [None, *(revision.id for revision in history())]
        at = known.index(before) + int(target)
        if not 0 <= at < len(known):
            raise CommandError(f"There are not as many revisions as {target} asks for")
        return known[at]


def upgrade(dsn: str, target: str = "head") -> str | None:
    """Bring the database up to `target` and return the revision it had before.

    Raises:
        OpsError: the server is too old or has no pgvector, the schema is foreign, unversioned or
            newer than this code, another process holds the lock, or a revision failed.
        InvalidInput: `target` is not a revision.
    """
    with exclusive_connection(dsn) as conn:
        require_server(conn)
        before = read_status(conn)
        conn.rollback()
        if before.state not in ("empty", "behind", "current"):
            require_current(before)
        goal = destination(before.revision, target)
        if goal is not None:
            between_readers(conn, lambda: run_upgrade(conn, goal))
        return before.revision


def downgrade(dsn: str, target: str) -> str | None:
    """Take the database back to `target` (`base` for none) and return the revision it had.

    What the older schema cannot hold is set aside and put back by the next upgrade; `base` drops
    every table with its rows. Dump first (`aegis.db.dump`).

    Raises:
        OpsError: as `upgrade`, or there is nothing to take back.
        InvalidInput: `target` is not a revision.
    """
    with exclusive_connection(dsn) as conn:
        before = read_status(conn)
        conn.rollback()
        if before.state == "empty":
            raise OpsError("The database has no Aegis tables to downgrade.", code="schema_empty")
        if before.state not in ("behind", "current"):
            require_current(before)
        goal = destination(before.revision, target) or "base"
        between_readers(conn, lambda: _run("downgrade", conn, goal))
        return before.revision


def check(dsn: str) -> list[str]:
    """Return how the database differs from the schema of this code; empty means clean.

    Raises:
        OpsError: the database is not at this code's revision, so that comparing says nothing.
    """
    from aegis.db.autogenerate import drift

    with admin_connection(dsn) as conn, translated():
        require_current(read_status(conn))
        conn.rollback()
        with sqlalchemy_connection(conn) as sa_connection:
            return drift(sa_connection)


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
    with admin_connection(dsn) as conn, translated():
        require_current(read_status(conn))
        conn.rollback()
        with (
            sqlalchemy_connection(conn) as sa_connection,
            _alembic_errors(),
            warnings.catch_warnings(),
        ):
            # Alembic warns of every operator class that it cannot compare; `check` does compare.
            warnings.simplefilter("ignore")
            script: Any = command.revision(
                _config(sa_connection), message, autogenerate=autogenerate, rev_id=number
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


def run_upgrade(conn: psycopg.Connection, target: str) -> None:
    """Upgrade on a connection from `exclusive`, outside of any transaction."""
    before = read_status(conn).revision
    conn.rollback()
    goal = destination(before, target)
    # Alembic takes what is behind for done; nothing to do must not even make its table.
    if goal is not None and goal > (before or ""):
        _run("upgrade", conn, goal, first=before is None)
    # An old pgvector could not build these; on most days there is nothing to do.
    reached = read_status(conn).revision or ""
    for revision in ("0003", "0013"):
        if reached >= revision:
            conn.execute(revision_module(revision).MODEL_INDEXES)
    conn.commit()


def revision_module(id: str) -> Any:
    """Return the module of one revision, for the SQL in it."""
    script: Any = _script().get_revision(id)
    return script.module


def between_readers(conn: psycopg.Connection, step: Callable[[], T]) -> T:
    """Do a step, again where somebody kept a table locked; in between, others have their turn.

    Raises:
        Unavailable: `db_lock_timeout`, naming who holds locks.
    """
    for pause in (*PAUSES_S, None):
        try:
            return step()
        except (psycopg.errors.LockNotAvailable, Unavailable) as error:
            meant = error if isinstance(error, AegisError) else translate(error)
            if meant.code != "db_lock_timeout":
                raise
            conn.rollback()
            if pause is None:
                held = ", ".join(holders_of_locks(conn)) or "nobody by now"
                conn.rollback()
                raise Unavailable(
                    "A revision needs a table for itself for a moment, and others kept it locked, "
                    f"{len(PAUSES_S) + 1} times over. Holding locks longest: {held}. End that, or "
                    "upgrade at a quieter time; the schema is at a valid revision.",
                    code="db_lock_timeout",
                ) from error
        time.sleep(pause)
    raise AssertionError


def _run(direction: str, conn: psycopg.Connection, target: str, *, first: bool = False) -> None:
    from alembic import command

    run = command.upgrade if direction == "upgrade" else command.downgrade
    with sqlalchemy_connection(conn) as sa_connection, _alembic_errors():
        if first:
            # The first revision and the table that says so come together, or neither does.
            with sa_connection.begin():
                conn.execute(CREATE_VERSION_TABLE)
                _claim_version_table(conn)
                run(_config(sa_connection), FIRST)
        run(_config(sa_connection), target)


def _claim_version_table(conn: psycopg.Connection) -> None:
    """Mark `alembic_version` as ours, if it is not marked yet."""
    comment: Any = conn.execute(
        "SELECT coalesce(obj_description('alembic_version'::regclass, 'pg_class'), '')"
    ).fetchone()
    if not comment[0].startswith(VERSION_TABLE_COMMENT):
        conn.execute(
            sql.SQL("COMMENT ON TABLE alembic_version IS {}").format(VERSION_TABLE_COMMENT)
        )


@contextmanager
def sqlalchemy_connection(conn: psycopg.Connection) -> Generator[sa.Connection]:
    """Lend `conn` to SQLAlchemy, which may commit on it and must not close it."""
    import sqlalchemy as sa
    from sqlalchemy.exc import DBAPIError

    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: conn, poolclass=sa.StaticPool
    )
    # Comments are written by migrations and held by them alone; the metadata has none to compare.
    engine.dialect.supports_comments = False
    connection = engine.connect()
    try:
        yield connection
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise _explained(error.orig) from error
        raise
    finally:
        if not conn.closed:
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
    if isinstance(error, psycopg.errors.FeatureNotSupported) and error.diag.message_detail:
        # Something of the owner's hangs on a column that changes, such as a view.
        return OpsError(
            f"A revision could not be applied: {error.diag.message_primary}: "
            f"{error.diag.message_detail}. Drop that, upgrade, and create it again.",
            code="migration_refused",
        )
    return translate(error)


@contextmanager
def _alembic_errors() -> Generator[None]:
    from alembic.util.exc import CommandError

    try:
        yield
    except CommandError as error:
        raise InvalidInput(
            f"{error}. The revisions are {', '.join(r.id for r in history())}; "
            f"the newest is {HEAD}."
        ) from error
