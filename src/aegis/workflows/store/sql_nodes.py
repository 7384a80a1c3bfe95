"""Running a statement that a workflow brings along: the one place where SQL is not ours.

Always through the extended protocol, which takes one statement: none after a semicolon.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import sql as compose
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_value
from aegis.db.opening import connect_once
from aegis.db.translate import translated
from aegis.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping

    from aegis.config import Settings
    from aegis.db import Connection

__all__ = ["connect", "may_do_everything", "read", "write"]


@asynccontextmanager
async def connect(dsn: str, settings: Settings) -> AsyncGenerator[Connection]:
    """Open a connection for one reading and close it (`Unavailable`, `ConfigError`)."""
    with translated(dsn=dsn):
        conn = await connect_once(dsn, settings)
    try:
        yield conn
    finally:
        await conn.close()


async def may_do_everything(conn: Connection) -> bool:
    """Return whether the role can get beyond what it was granted."""
    return bool(
        await fetch_value(
            conn,
            """
            SELECT bool_or(
                r.rolsuper
                OR r.rolreplication
                OR r.rolcreaterole
                OR r.rolname IN (
                    'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
                    'pg_write_all_data'
                )
            )
            FROM pg_roles r
            WHERE pg_has_role(session_user, r.oid, 'MEMBER')
            """,
        )
    )


async def read(
    conn: Connection,
    statement: str,
    values: Mapping[str, Any],
    *,
    timeout_ms: int,
    limit: int,
) -> list[dict[str, Any]]:
    """Return up to `limit` rows, read in a read-only transaction.

    Raises:
        InvalidInput: the statement is wrong (`workflow_sql`).
    """
    with translated(), _refused():
        async with conn.transaction():
            await execute(conn, "SET TRANSACTION READ ONLY")
            await _limit_time(conn, timeout_ms)
            # A cursor of the server's: rows beyond the limit are never sent.
            async with conn.cursor("workflow_rows", row_factory=dict_row) as cursor:
                await cursor.execute(_own(statement), _bound(values))
                return await cursor.fetchmany(limit)


async def write(
    conn: Connection, statement: str, values: Mapping[str, Any], *, timeout_ms: int
) -> tuple[int, list[dict[str, Any]]]:
    """Run a statement in the caller's transaction; return rows touched and rows returned.

    Raises:
        InvalidInput: the statement is wrong (`workflow_sql`).
    """
    with _refused():
        before = await fetch_value(conn, "SELECT current_setting('statement_timeout')")
        await _limit_time(conn, timeout_ms)
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_own(statement), _bound(values), prepare=True)
            rows = await cursor.fetchall() if cursor.description is not None else []
            count = max(cursor.rowcount, 0)
        await execute(
            conn, "SELECT set_config('statement_timeout', %(before)s, true)", {"before": before}
        )
        return count, rows


async def _limit_time(conn: Connection, timeout_ms: int) -> None:
    await execute(
        conn,
        "SELECT set_config('statement_timeout', %(timeout)s, true)",
        {"timeout": str(timeout_ms)},
    )


def _own(statement: str) -> compose.SQL:
    # The one statement that is no text of ours; who may save workflows may say it.
    return compose.SQL(cast("Any", statement))


def _bound(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: Jsonb(v) if isinstance(v, dict) else v for k, v in values.items()}


@contextmanager
def _refused() -> Generator[None]:
    """Make an error in the statement its writer's; time-outs and outages stay what they are."""
    try:
        yield
    except KeyError as error:
        raise InvalidInput(
            f"The statement names the value {error.args[0]!r}, which is not given.",
            code="workflow_sql",
        ) from None
    except psycopg.errors.QueryCanceled:
        raise Unavailable(
            "The statement took longer than timeout_s; ask for less, or allow more.",
            code="workflow_sql_slow",
        ) from None
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise _wrong(error) from None


def _wrong(error: psycopg.Error) -> InvalidInput:
    said = " ".join(str(error).split())[:300]
    return InvalidInput(f"The statement is refused: {said}.", code="workflow_sql")
