"""How connections to an address are opened: what each is set to, and what lies between.

Settings go along with the connection (`options`), which takes no time. A pooler does not pass them
on: by sessions they are set once connected, by transactions at the beginning of each one, so that
nobody else's statements meet them.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from aegis.db.patience import connect
from aegis.db.pooler import (
    PID_SQL,
    Pooling,
    options_lost,
    parted_options,
    refuses_options,
    tell_pooling,
)
from aegis.db.translate import redact
from aegis.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.rows import TupleRow

    from aegis.config import Settings

__all__ = ["Way", "connect_once", "connection_arguments", "find_way", "identity", "server_pid"]

#: How long one of our transactions may lie idle. None does, unless its process stands still; then
#: its locks keep everybody else waiting.
_IDLE_IN_TRANSACTION: Final = "15min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What connections to one address are opened with, and what they are good for."""

    pooling: Pooling
    #: psycopg's keyword arguments.
    arguments: dict[str, Any]
    #: What is said once on each connection.
    first: sql.Composed | None = None
    #: What begins a transaction; None where BEGIN alone does.
    begin: sql.Composed | None = None


def connection_arguments(settings: Settings, dsn: str = "") -> dict[str, Any]:
    """Return what every connection of ours is opened with, psycopg's keyword arguments.

    Options in `dsn` stay, and win: a keyword argument would replace them. Compiling our statements
    (`jit`) takes longer than running them.
    """
    given = conninfo_to_dict(dsn).get("options") or ""
    own = " ".join(f"-c {name}={value}" for name, value in _own_settings(settings))
    return {**_plain_arguments(settings), "options": f"{own} {given}".strip()}


def _plain_arguments(settings: Settings) -> dict[str, Any]:
    return {
        "application_name": settings.application_name,
        "connect_timeout": max(2, round(settings.connect_timeout_s)),
    }


def _own_settings(settings: Settings) -> tuple[tuple[str, str], ...]:
    return (
        ("statement_timeout", str(settings.statement_timeout_ms)),
        ("lock_timeout", str(settings.lock_timeout_ms)),
        ("idle_in_transaction_session_timeout", _IDLE_IN_TRANSACTION),
        ("jit", "off"),
        ("TimeZone", "UTC"),
    )


async def find_way(dsn: str, settings: Settings) -> Way:
    """Connect to `dsn` and return how further connections are made.

    Raises:
        psycopg.Error: as connecting has it.
        Unavailable: a pooler takes clients in and has no server for them.
    """
    conn, arguments = await _connect(dsn, settings)
    async with conn:
        pooled = await _is_pooled(conn, dsn)
    if not pooled:
        return Way(pooling="none", arguments=arguments)
    arguments, given = _pooled_arguments(settings, dsn)
    wait_s = float(arguments["connect_timeout"])
    ask = functools.partial(tell_pooling, dsn, arguments, wait_s=wait_s)
    pooling: Pooling = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
    own = _own_settings(settings)
    if pooling == "session":
        return Way(pooling=pooling, arguments=arguments, first=_for_the_session((*own, *given)))
    if given:
        raise options_lost(given)
    return Way(
        pooling=pooling,
        # What one process has prepared, the next one does not know.
        arguments={**arguments, "prepare_threshold": None},
        # PgBouncer keeps this one for each client, which reads times by it.
        first=sql.SQL("SET TimeZone = {}").format(sql.Literal("UTC")),
        begin=sql.SQL("BEGIN; ") + _for_the_transaction(own),
    )


async def connect_once(dsn: str, settings: Settings) -> psycopg.AsyncConnection[TupleRow]:
    """Connect for a few transactions, whatever lies between; nothing may rely on its session.

    Raises:
        psycopg.Error: as connecting has it.
        Unavailable: a pooler takes clients in and has no server for them.
    """
    conn, _ = await _connect(dsn, settings)
    try:
        if await _is_pooled(conn, dsn):
            conn.prepare_threshold = None
            await conn.execute("SET TimeZone = 'UTC'")
        await conn.set_autocommit(False)
    except BaseException:
        await conn.close()
        raise
    return conn


async def server_pid(conn: psycopg.AsyncConnection[TupleRow]) -> int:
    """Return the server's process behind a connection; the driver may have been told another."""
    row = await (await conn.execute(PID_SQL)).fetchone()
    assert row is not None
    return int(row[0])


async def identity(conn: psycopg.AsyncConnection[TupleRow]) -> tuple[object, ...]:
    """Return what tells this database from every other, its copies on standbys included."""
    cursor = await conn.execute(
        """
        SELECT s.system_identifier, d.oid, pg_is_in_recovery()
        FROM pg_control_system() s
        CROSS JOIN pg_database d
        WHERE d.datname = current_database()
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return row


async def _connect(
    dsn: str, settings: Settings
) -> tuple[psycopg.AsyncConnection[TupleRow], dict[str, Any]]:
    arguments = connection_arguments(settings, dsn)
    try:
        return await connect(dsn, **arguments), arguments
    except psycopg.OperationalError as error:
        if not refuses_options(error):
            raise
    arguments, _ = _pooled_arguments(settings, dsn)
    return await connect(dsn, **arguments), arguments


async def _is_pooled(conn: psycopg.AsyncConnection[TupleRow], dsn: str) -> bool:
    """Tell whether somebody else than the server answered when the connection was made."""
    timeout = int(conn.info.get_parameters().get("connect_timeout", "5"))
    await conn.set_autocommit(True)
    try:
        async with asyncio.timeout(timeout):
            pid = await server_pid(conn)
    except TimeoutError:
        raise Unavailable(
            f"The pooler at {redact(dsn)} has no server for its clients: none within {timeout} s. "
            "Is PostgreSQL running behind it, and its pool large enough?",
            code="db_unreachable",
        ) from None
    return pid != conn.info.backend_pid


def _pooled_arguments(
    settings: Settings, dsn: str
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Return what is passed on by a pooler, and the settings in the address, which are not."""
    given, others = parted_options(dsn)
    return {**_plain_arguments(settings), "options": others}, given


def _for_the_session(named: Sequence[tuple[str, str]]) -> sql.Composed:
    # Not by SET, to which a list such as a search_path would be one name.
    return sql.SQL("; ").join(
        sql.SQL("SELECT set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
        for name, value in named
    )


def _for_the_transaction(named: Sequence[tuple[str, str]]) -> sql.Composed:
    # Not by set_config, a query, after which the isolation level cannot be set any more.
    return sql.SQL("; ").join(
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in named
    )
