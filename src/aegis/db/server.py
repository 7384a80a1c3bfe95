"""Which server to use, and whether Aegis can work on it.

The address comes from `database_url`, or from the embedded server. What a server lacks is said
when it is opened, not by the first query that fails.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread
from psycopg import errors as pg

from aegis.db.opening import connect_once
from aegis.db.query import fetch_one, fetch_value
from aegis.db.translate import translated
from aegis.errors import OpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings
    from aegis.db.database import Connection

__all__ = [
    "ServerReport",
    "check_server",
    "direct_endpoint",
    "endpoint",
    "finder",
    "owner_endpoint",
    "ready",
]

#: PostgreSQL 16, as `server_version_num` writes it.
OLDEST_SERVER = 160_000
#: The first pgvector with iterative index scans, without which filters starve a search.
ADVISED_PGVECTOR = (0, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """A server that Aegis can work on."""

    #: Such as `18.6`.
    version: str
    #: Such as 180006.
    version_num: int
    #: Version of the extension `vector` in this database.
    pgvector: str
    #: What would be better, one line each; empty when all is well.
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    version: str
    version_num: int
    read_only: bool
    database: str
    user_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vector:
    installed: str | None
    available: str | None


def endpoint(settings: Settings) -> str:
    """Return the address of the server to use; start the embedded one if none is configured.

    Raises:
        ConfigError: the data folder cannot be used.
        OpsError: the embedded server does not start.
    """
    if settings.database_url is not None:
        return settings.database_url
    # Not needed where a server is configured, nor to be had on systems without Unix sockets.
    from aegis.db import embedded

    return embedded.start(settings).dsn


def direct_endpoint(settings: Settings) -> str:
    """Return where sessions last: AEGIS_DIRECT_DATABASE_URL, or the one endpoint there is."""
    return settings.direct_database_url or endpoint(settings)


def finder(settings: Settings) -> Callable[[], str | None] | None:
    """Return what tells where the embedded server is by now; None where a server is configured."""
    if settings.database_url is not None:
        return None
    from aegis.db import embedded

    return functools.partial(embedded.find_dsn, settings)


def owner_endpoint(settings: Settings) -> str:
    """Return where the tables' owner works: AEGIS_OWNER_URL, or where sessions last."""
    return settings.owner_url or direct_endpoint(settings)


async def ready(settings: Settings) -> str:
    """Return the address of a server that Aegis can work on, its schema current.

    An empty database on the embedded server gets the schema now; anywhere else its owner decides.

    Raises:
        ConfigError: the address or the data folder cannot be used.
        OpsError: the server or the schema does not fit this code; says which command helps.
        Unavailable: the server does not answer, or is read-only.
    """
    from aegis.db.revision import require_current, schema_state

    dsn = await anyio.to_thread.run_sync(endpoint, settings)
    with translated(dsn=dsn):
        async with await connect_once(dsn, settings) as conn:
            await check_server(conn)
            status = await schema_state(conn)
    if status.state == "behind" and settings.database_url is None:
        from aegis.db import migrate

        # Another process may just be making it, revision by revision.
        status = await anyio.to_thread.run_sync(migrate.settled_status, dsn)
    if status.state == "empty" and settings.database_url is None:
        await _furnish(dsn, settings)
    else:
        require_current(status)
    return dsn


async def _furnish(dsn: str, settings: Settings) -> None:
    """Give the embedded server's database its schema, and the optional extensions there are."""
    from aegis.db import migrate
    from aegis.db.extensions import ensure_extensions

    await anyio.to_thread.run_sync(migrate.upgrade, dsn)
    with translated(dsn=dsn):
        async with await connect_once(dsn, settings) as conn:
            await ensure_extensions(conn)


async def check_server(conn: Connection, *, oldest: int = OLDEST_SERVER) -> ServerReport:
    """Verify that Aegis can work on the server of `conn`; install pgvector if it may.

    Raises:
        OpsError: the server is older than `oldest`, or has no pgvector and cannot get it.
        Unavailable: it is read-only.
    """
    facts = await fetch_one(
        conn,
        _Facts,
        """
        SELECT
            current_setting('server_version') AS version,
            current_setting('server_version_num')::int AS version_num,
            pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
            current_database()::text AS database,
            current_user::text AS user_name
        """,
        missing="The server did not say its version.",
    )
    version = facts.version.split()[0]
    if facts.version_num < oldest:
        raise OpsError(
            f"The server is PostgreSQL {version}; Aegis needs {oldest // 10_000} or later. "
            "Upgrade it with pg_upgrade, or point AEGIS_DATABASE_URL at another.",
            code="server_too_old",
        )
    if facts.read_only:
        raise Unavailable(
            "The PostgreSQL server is read-only (a standby, or default_transaction_read_only). "
            "Point AEGIS_DATABASE_URL at the primary.",
            code="db_read_only",
        )
    vector = await _find_vector(conn)
    installed = vector.installed or await _install_vector(conn, facts, vector)
    return ServerReport(
        version=version,
        version_num=facts.version_num,
        pgvector=installed,
        advice=_advice(installed, vector.available),
    )


async def _find_vector(conn: Connection) -> _Vector:
    return await fetch_one(
        conn,
        _Vector,
        """
        SELECT
            (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS installed,
            (
                SELECT default_version
                FROM pg_available_extensions
                WHERE name = 'vector'
            ) AS available
        """,
        missing="The server did not list its extensions.",
    )


async def _install_vector(conn: Connection, facts: _Facts, vector: _Vector) -> str:
    major = facts.version_num // 10_000
    if vector.available is None:
        raise OpsError(
            f"pgvector is not installed on the server (PostgreSQL {major}). Install the package "
            f"postgresql-{major}-pgvector (Debian, Ubuntu), pgvector_{major} (Red Hat) or "
            "pgvector (Homebrew), then try again.",
            code="pgvector_missing",
        )
    try:
        async with conn.transaction():
            await conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except pg.InsufficientPrivilege:
        raise OpsError(
            f"The user {facts.user_name} may not install pgvector. Let a superuser run "
            f"`CREATE EXTENSION vector` in the database {facts.database}, then try again.",
            code="pgvector_forbidden",
        ) from None
    except (pg.UniqueViolation, pg.DuplicateObject):
        pass  # Another process has just done the same.
    except pg.UndefinedFile as error:
        raise OpsError(
            f"The server's pgvector is damaged: {error.diag.message_primary}. Install the package "
            f"postgresql-{major}-pgvector again.",
            code="pgvector_missing",
        ) from error
    return str(
        await fetch_value(conn, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    )


def _advice(installed: str, available: str | None) -> tuple[str, ...]:
    lines: list[str] = []
    if _numbers(installed) < ADVISED_PGVECTOR:
        lines.append(
            f"pgvector {installed} cannot continue an index scan past filtered rows: a filtered "
            "recall may find fewer rows than there are. Install pgvector 0.8 or later and run "
            "`ALTER EXTENSION vector UPDATE`."
        )
    elif available is not None and _numbers(installed) < _numbers(available):
        lines.append(
            f"pgvector {installed} is in use and {available} installed on the server. Run "
            "`ALTER EXTENSION vector UPDATE`."
        )
    return tuple(lines)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
