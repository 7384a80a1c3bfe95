"""One pool to one PostgreSQL.

Connections carry `application_name`, a statement and a lock time-out, and read UTC; one whose
server stands still is cut (`patience.py`). Driver errors leave here as the kinds of
`aegis.errors`, translated in one place (`translate.py` beside this file).
"""

from __future__ import annotations

import select
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from aegis.db.patience import WORK_SILENCE_S, PatientConnection, asker, connect
from aegis.db.revision import require_current, schema_state
from aegis.db.translate import translate, translated
from aegis.errors import AegisError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from aegis.config import Settings

__all__ = ["Connection", "Database", "PoolFigures"]

#: Seconds to wait for the answer to whether the server is there at all; libpq takes no less than 2.
_PROBE_S = 2
#: Seconds that the pool keeps trying to replace a lost connection before the next caller makes it
#: try afresh. The library doubles its pauses without a limit: after five minutes of trying it would
#: sleep for two more beside a server that is back.
_RECONNECT_S = 4.0
#: How long one of our transactions may lie idle. None does, unless its process stands still; then
#: its locks keep everybody else waiting.
_IDLE_IN_TRANSACTION = "15min"

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFigures:
    """What the pool holds at this moment, and what it has seen since it was opened."""

    #: Connections that exist.
    size: int
    #: Of these, free ones.
    available: int
    #: Callers that wait for one now.
    waiting: int
    #: Requests for a connection so far.
    requests: int
    #: Of these, given up after `pool_timeout_s`.
    timeouts: int
    #: Limits, as configured.
    min_size: int
    max_size: int


class Database:
    """A pool of connections; open it with `Database.open`, close it with `close`."""

    def __init__(
        self, pool: AsyncConnectionPool[Connection], address: Callable[[], str], settings: Settings
    ) -> None:
        self._pool = pool
        self._address = address
        self.settings = settings

    @classmethod
    async def open(
        cls,
        dsn: str,
        settings: Settings,
        *,
        min_size: int | None = None,
        find_dsn: Callable[[], str | None] | None = None,
    ) -> Self:
        """Connect to `dsn`; `min_size` overrides the setting (short commands keep one).

        `find_dsn` is asked before each further connection where the server is by then: it may have
        been restarted on another port. None from it means that it is not to be found.

        Raises:
            Unavailable: the server does not answer.
            ConfigError: the DSN is malformed, or its database, user or password is wrong.
        """
        # The pool reports a failed first connection only by time-out; ask once, to say why.
        with translated(dsn=dsn):
            kwargs = connection_arguments(settings, dsn)
            first = await connect(dsn, **kwargs)
            await first.close()

        def address() -> str:
            return (find_dsn and find_dsn()) or dsn

        answers = asker(address, kwargs)

        async def watch(conn: Connection) -> None:
            assert isinstance(conn, PatientConnection)
            conn.answers = answers

        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            address,
            connection_class=PatientConnection,
            kwargs=kwargs,
            configure=watch,
            min_size=settings.pool_min_size if min_size is None else min_size,
            max_size=settings.pool_max_size,
            max_idle=settings.pool_max_idle_s,
            timeout=settings.pool_timeout_s,
            reconnect_timeout=_RECONNECT_S,
            reconnect_failed=_try_again,
            name=settings.application_name,
            check=_check,
            open=False,
        )
        await pool.open()
        return cls(pool, address, settings)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection in autocommit mode, for what cannot run in a transaction."""
        async with self._lend() as conn:
            await conn.set_autocommit(True)
            try:
                yield conn
            finally:
                if not conn.closed:
                    await conn.set_autocommit(False)

    @asynccontextmanager
    async def owner(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection of the tables' owner, in autocommit mode, for what only he may.

        That is AEGIS_OWNER_URL where it is set, opened for this and closed; else one of the pool.
        His work is long: a server that stands still is waited for longer than by a request.
        """
        dsn = self.settings.owner_url
        if dsn is None:
            async with self.connection() as conn:
                with _patient(conn):
                    yield conn
            return
        arguments = connection_arguments(self.settings, dsn)
        with translated(dsn=dsn):
            conn = await PatientConnection.connect(dsn, autocommit=True, **arguments)
        conn.answers = asker(lambda: dsn, arguments)
        try:
            with translated(), _patient(conn):
                yield conn
        finally:
            await conn.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection in a transaction: committed at the end, rolled back on an error."""
        async with self._lend() as conn, conn.transaction():
            yield conn

    async def dedicated(self) -> Connection:
        """Open a connection beside the pool, in autocommit mode, that its caller closes.

        For what keeps one for long, such as LISTEN. A peer that is gone is noticed in a minute.

        Raises:
            Unavailable: the server does not answer.
        """
        dsn = self._address()
        kept = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        with translated(dsn=dsn):
            return await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, **kept, **connection_arguments(self.settings, dsn)
            )

    def figures(self) -> PoolFigures:
        """Return the pool's figures; no query is made."""
        stats = self._pool.get_stats()
        return PoolFigures(
            size=stats.get("pool_size", 0),
            available=stats.get("pool_available", 0),
            waiting=stats.get("requests_waiting", 0),
            requests=stats.get("requests_num", 0),
            timeouts=stats.get("requests_errors", 0),
            min_size=stats.get("pool_min", 0),
            max_size=stats.get("pool_max", 0),
        )

    async def close(self) -> None:
        """Close every connection; calls in progress are cut after five seconds."""
        await self._pool.close(timeout=5.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @asynccontextmanager
    async def _lend(self) -> AsyncGenerator[Connection, None]:
        with translated():
            try:
                async with self._pool.connection() as conn:
                    yield conn
            except PoolTimeout:
                raise await self._why_none() from None
            except (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction):
                await self._require_schema()
                raise
            except pg.FeatureNotSupported as error:
                # The server says so in its own language, and where in its code in none.
                if error.diag.source_function != "RevalidateCachedQuery":
                    raise
                # Every connection has planned for the table as it was; each would fail once.
                await self._pool.drain()
                raise Unavailable(
                    "A table was changed beneath a statement that had been planned; try again.",
                    code="db_plan_changed",
                ) from error
            except (PoolClosed, TooManyRequests) as error:
                raise Unavailable(
                    f"The pool takes no requests: {error}", code="pool_closed"
                ) from None

    async def _why_none(self) -> AegisError:
        """Return why no connection was to be had: the server is gone, or all are busy."""
        dsn = self._address()
        arguments = connection_arguments(self.settings, dsn)
        arguments["connect_timeout"] = _PROBE_S
        try:
            probe = await psycopg.AsyncConnection.connect(dsn, **arguments)
            await probe.close()
        except psycopg.Error as error:
            return translate(error, dsn=dsn)
        return Unavailable(
            f"No free connection within {self.settings.pool_timeout_s:g} s: all "
            f"{self.settings.pool_max_size} are busy. Raise AEGIS_POOL_MAX_SIZE, or try again.",
            code="pool_exhausted",
        )

    async def _require_schema(self) -> None:
        """Raise what is wrong with the schema as a whole, if the database can tell."""
        try:
            async with self._pool.connection() as conn:
                status = await schema_state(conn)
        except (psycopg.Error, PoolTimeout):
            return
        require_current(status)


@contextmanager
def _patient(conn: Connection) -> Generator[None]:
    """Have a connection wait as long work does for a server that stands still."""
    assert isinstance(conn, PatientConnection)
    conn.silence_s = WORK_SILENCE_S
    try:
        yield
    finally:
        conn.silence_s = 0.0


async def _check(conn: Connection) -> None:
    """Refuse a connection that broke while nobody used it; a quiet socket costs no round trip."""
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    # A server that ends says so, or closes: either way there is something to read.
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(conn)


async def _try_again(pool: AsyncConnectionPool[Connection]) -> None:
    """Go on trying to connect as long as somebody waits for it."""
    if pool.get_stats().get("requests_waiting", 0):
        await pool.check()


def connection_arguments(settings: Settings, dsn: str = "") -> dict[str, Any]:
    """Return what every connection of ours is opened with, psycopg's keyword arguments.

    Options in `dsn` stay, and win: a keyword argument would replace them. Compiling our statements
    (`jit`) takes longer than running them.
    """
    given = conninfo_to_dict(dsn).get("options") or ""
    options = (
        f"-c statement_timeout={settings.statement_timeout_ms} "
        f"-c lock_timeout={settings.lock_timeout_ms} "
        f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION} "
        f"-c jit=off -c TimeZone=UTC {given}"
    )
    return {
        "application_name": settings.application_name,
        "connect_timeout": max(2, round(settings.connect_timeout_s)),
        "options": options,
    }
