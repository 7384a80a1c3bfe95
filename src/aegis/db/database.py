"""One pool to one PostgreSQL.

Connections carry `application_name`, a statement and a lock time-out, and read UTC, whatever lies
between (`opening.py`); one whose server stands still is cut (`patience.py`). Driver errors leave
here as the kinds of `aegis.errors`, translated in one place (`translate.py` beside this file).
"""

from __future__ import annotations

import asyncio
import select
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import psycopg
from psycopg import errors as pg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from aegis.db.opening import find_way, identity
from aegis.db.patience import PatientConnection, asker, patiently
from aegis.db.pool import WarmPool
from aegis.db.pooler import needs_session
from aegis.db.revision import require_current, schema_state
from aegis.db.translate import translate, translated
from aegis.errors import AegisError, ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aegis.config import Settings
    from aegis.db.opening import Way
    from aegis.db.pooler import Pooling

__all__ = ["Connection", "Cursor", "Database", "PoolFigures"]

#: Seconds to wait for the answer to whether the server is there at all; libpq takes no less than 2.
_PROBE_S = 2
#: Seconds that the pool keeps trying to replace a lost connection before the next caller makes it
#: try afresh. The library doubles its pauses without a limit: after five minutes of trying it would
#: sleep for two more beside a server that is back.
_RECONNECT_S = 4.0
#: Has whoever keeps a connection for long notice in a minute that the other side is gone.
_KEPT: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]
Cursor: TypeAlias = psycopg.AsyncCursor[TupleRow]


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
        self,
        pool: AsyncConnectionPool[Connection],
        address: Callable[[], str],
        way: Way,
        settings: Settings,
    ) -> None:
        self._pool = pool
        self._address = address
        self._way = way
        self._probing: asyncio.Task[psycopg.Error | None] | None = None
        self.settings = settings

    @property
    def pooling(self) -> Pooling:
        """Whether a pooler lies between, and by what it lends the server's processes."""
        return self._way.pooling

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
            way = await find_way(dsn, settings)

        def address() -> str:
            return (find_dsn and find_dsn()) or dsn

        answers = asker(address, way.arguments)

        async def begin(conn: Connection) -> None:
            assert isinstance(conn, PatientConnection)
            conn.answers = answers
            if way.first is not None:
                await conn.execute(way.first)

        pool: WarmPool[Connection] = WarmPool(
            address,
            connection_class=PatientConnection,
            # A transaction says so itself; switching to and fro for each loan costs a twentieth of
            # a call with a key.
            kwargs={**way.arguments, "autocommit": True},
            configure=begin,
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
        return cls(pool, address, way, settings)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection in autocommit mode, for statements that are transactions by themselves.

        What a session keeps from one to the next (settings, locks) takes `session`.
        """
        async with self._lend() as conn:
            yield conn

    @asynccontextmanager
    async def session(self, what: str = "This") -> AsyncGenerator[Connection, None]:
        """Lend a connection in autocommit mode whose session is its borrower's alone.

        For locks, settings and commands that outlast a statement. Such work is long: a server that
        stands still is waited for longer than by a request. Through a pooler by transactions it is
        AEGIS_DIRECT_DATABASE_URL's, opened for this and closed.

        Raises:
            ConfigError: `db_needs_session`, there is such a pooler, and no way past it for `what`.
        """
        if self.pooling != "transaction":
            async with self.connection() as conn:
                with patiently(conn):
                    yield conn
            return
        async with _closing(await self._past_pooler(what)) as conn:
            yield conn

    @asynccontextmanager
    async def owner(self, what: str = "This") -> AsyncGenerator[Connection, None]:
        """Lend a connection of the tables' owner, in autocommit mode, for what only he may.

        That is AEGIS_OWNER_URL where it is set, opened for this and closed; else a `session`.

        Raises:
            ConfigError: `db_needs_session`, as `session`.
        """
        dsn = self.settings.owner_url
        if dsn is None:
            async with self.session(what) as conn:
                yield conn
            return
        with translated(dsn=dsn):
            way = await find_way(dsn, self.settings)
        if way.pooling == "transaction":
            raise needs_session(what, where="AEGIS_OWNER_URL")
        async with _closing(await self._open(dsn, way, watched=True)) as conn:
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection in a transaction: committed at the end, rolled back on an error."""
        begin = self._way.begin
        if begin is None:
            async with self._lend() as conn, conn.transaction():
                yield conn
            return
        async with self.connection() as conn:
            # Settings of ours are the transaction's, in the same round trip as BEGIN.
            await conn.execute(begin)
            try:
                yield conn
            except BaseException:
                if not conn.closed:
                    await conn.rollback()
                raise
            await conn.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection for statements that one server's process has to run, such as settings.

        In autocommit mode where that is given anyway, which saves two round trips; in a transaction
        where a pooler would change the process between them.
        """
        lent = self.transaction() if self.pooling == "transaction" else self.connection()
        async with lent as conn:
            yield conn

    def require_session(self, what: str, *, owner: bool = False) -> None:
        """Refuse what `session`, or `owner`, would, before anything is done; nothing is asked.

        Raises:
            ConfigError: `db_needs_session`.
        """
        given = self.settings.direct_database_url or (owner and self.settings.owner_url)
        if self.pooling == "transaction" and not given:
            raise needs_session(what)

    async def dedicated(self) -> Connection:
        """Open a connection beside the pool, in autocommit mode, that its caller closes.

        For what keeps one for long, such as LISTEN. A peer that is gone is noticed in a minute.

        Raises:
            Unavailable: the server does not answer.
            ConfigError: `db_needs_session`, a pooler by transactions, and no way past it.
        """
        if self.pooling == "transaction":
            return await self._past_pooler("Listening for notifications")
        return await self._open(self._address(), self._way)

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

    async def _past_pooler(self, what: str) -> Connection:
        """Open a connection to the server itself.

        Raises:
            ConfigError: `db_needs_session`, nobody said where it is; `db_direct_elsewhere`.
        """
        self.require_session(what)
        dsn = self.settings.direct_database_url
        assert dsn is not None
        with translated(dsn=dsn):
            way = await find_way(dsn, self.settings)
        if way.pooling == "transaction":
            raise needs_session(what, where="AEGIS_DIRECT_DATABASE_URL")
        conn = await self._open(dsn, way, watched=True)
        try:
            with translated():
                direct = await identity(conn)
            async with self.connection() as pooled:
                if await identity(pooled) != direct:
                    raise ConfigError(
                        "AEGIS_DIRECT_DATABASE_URL leads to another database than "
                        "AEGIS_DATABASE_URL. Let both lead to the same one.",
                        code="db_direct_elsewhere",
                    )
        except BaseException:
            await conn.close()
            raise
        return conn

    async def _open(self, dsn: str, way: Way, *, watched: bool = False) -> Connection:
        """Open a connection of its own, in autocommit mode; `watched`: cut when it must be."""
        with translated(dsn=dsn):
            conn = await PatientConnection.connect(
                dsn, autocommit=True, **{**_KEPT, **way.arguments}
            )
            if watched:
                conn.answers = asker(lambda: dsn, way.arguments)
            if way.first is not None:
                await conn.execute(way.first)
        return conn

    async def _why_none(self) -> AegisError:
        """Return why no connection was to be had: the server is gone, or all are busy."""
        # One look for all who ask at once: thousands may, and a connection each is too many.
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        error = await asyncio.shield(self._probing)
        if error is not None:
            return translate(error, dsn=self._address())
        return Unavailable(
            f"No free connection within {self.settings.pool_timeout_s:g} s: all "
            f"{self.settings.pool_max_size} are busy. Raise AEGIS_POOL_MAX_SIZE, or try again.",
            code="pool_exhausted",
        )

    async def _probe(self) -> psycopg.Error | None:
        """Return what a new connection fails with; None where it is made."""
        dsn = self._address()
        arguments: dict[str, Any] = {**self._way.arguments, "connect_timeout": _PROBE_S}
        try:
            probe = await psycopg.AsyncConnection.connect(dsn, **arguments)
            await probe.close()
        except psycopg.Error as error:
            return error
        return None

    async def _require_schema(self) -> None:
        """Raise what is wrong with the schema as a whole, if the database can tell."""
        try:
            async with self._pool.connection() as conn:
                status = await schema_state(conn)
        except (psycopg.Error, PoolTimeout):
            return
        require_current(status)


@asynccontextmanager
async def _closing(conn: Connection) -> AsyncGenerator[Connection, None]:
    try:
        with translated(), patiently(conn):
            yield conn
    finally:
        await conn.close()


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
