"""What goes on in the server now: connections, statements, transactions, who blocks whom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows, seconds, value
from aegis.ops.health.models import Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

_TEXT = 120


@check(
    "latency",
    "load",
    "Time of the smallest statement",
    means="The server is overloaded, swaps, or is far away: everything waits so long.",
    advice="Look at the machine's load and at `aegis db stats slow`.",
    limits=Limits(warning=500, critical=2_000),
    unit="ms",
)
async def latency(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Time a statement that does nothing."""
    del ask
    started = time.perf_counter()
    await value(conn, "SELECT 1")
    taken = 1_000 * (time.perf_counter() - started)
    return [Seen(observed=f"{taken:.1f} ms", value=taken)]


@check(
    "connections",
    "load",
    "Connections in use",
    means="Near the limit, programs are refused; the specification's alarm is above 80 %.",
    advice="Close what is not needed (`aegis db stats connections`), lower AEGIS_POOL_MAX_SIZE, "
    "put a pooler in front, or raise max_connections.",
    limits=Limits(warning=80, critical=90),
    unit="%",
)
async def connections(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare the clients with max_connections less what is reserved for superusers."""
    del ask
    ((used, most),) = await rows(
        conn,
        """
        SELECT
            (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
            current_setting('max_connections')::int
                - current_setting('superuser_reserved_connections')::int
                - current_setting('reserved_connections')::int
        """,
    )
    share = 100 * used / max(most, 1)
    return [Seen(observed=f"{used} of {most} ({share:.0f} %)", value=share)]


@check(
    "connections-total",
    "load",
    "Number of connections",
    means="Each costs memory and snapshot time, whatever the limit is.",
    advice="Put a pooler such as PgBouncer before programs that connect for each request; Aegis "
    "has a pool of its own (AEGIS_POOL_MAX_SIZE).",
    limits=Limits(warning=500),
)
async def connections_total(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count the clients."""
    del ask
    used = await value(
        conn, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    )
    return [Seen(observed=f"{used}", value=used)]


@check(
    "idle-in-transaction",
    "load",
    "Sessions idle in a transaction",
    means="They hold locks and keep VACUUM from removing dead rows while nobody works.",
    advice="End the session, and set idle_in_transaction_session_timeout for its role.",
    limits=Limits(warning=300, critical=900),
    unit="s",
)
async def idle_in_transaction(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how long sessions have been idle in their transactions."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            pid,
            coalesce(usename, '?'),
            coalesce(application_name, ''),
            extract(epoch FROM clock_timestamp() - state_change)::float8
        FROM pg_stat_activity
        WHERE state IN ('idle in transaction', 'idle in transaction (aborted)')
          AND pid <> pg_backend_pid()
        ORDER BY 4 DESC
        LIMIT 50
        """,
    )
    return [
        Seen(
            object=f"pid {pid}",
            observed=f"idle for {seconds(age)} ({user} {application})".replace(" )", ")"),
            value=age,
            fix=f"SELECT pg_terminate_backend({pid});",
        )
        for pid, user, application, age in found
    ]


@check(
    "idle-in-transaction-count",
    "load",
    "How many sessions are idle in a transaction",
    means="A program forgets to end its transactions.",
    advice="Find it by application_name in `aegis db stats connections`.",
    limits=Limits(warning=100),
)
async def idle_count(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count them."""
    del ask
    count = await value(
        conn, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    )
    return [Seen(observed=f"{count}", value=count)]


async def _running(conn: Connection, least_s: float) -> Sequence[Seen]:
    # Those that send WAL run for ever; vacuum, index builds and backups are known to be long.
    found = await rows(
        conn,
        """
        SELECT
            a.pid,
            coalesce(a.usename, '?'),
            extract(epoch FROM clock_timestamp() - a.query_start)::float8,
            left(regexp_replace(a.query, '\\s+', ' ', 'g'), 200)
        FROM pg_stat_activity a
        WHERE a.state = 'active'
          AND a.backend_type = 'client backend'
          AND a.pid <> pg_backend_pid()
          AND a.query_start < clock_timestamp() - make_interval(secs => %(least)s)
          AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
          AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index i WHERE i.pid = a.pid)
          AND NOT EXISTS (SELECT FROM pg_stat_progress_copy c WHERE c.pid = a.pid)
          AND NOT EXISTS (SELECT FROM pg_stat_progress_basebackup b WHERE b.pid = a.pid)
        ORDER BY 3 DESC
        LIMIT 50
        """,
        {"least": least_s},
    )
    return [
        Seen(
            object=f"pid {pid}",
            observed=f"runs for {seconds(age)} ({user}): {text[:_TEXT]}",
            value=age,
            fix=f"SELECT pg_cancel_backend({pid});",
        )
        for pid, user, age, text in found
    ]


@check(
    "slow-running",
    "load",
    "Statements that run for seconds",
    means="Somebody waits; the specification's alarm is above 5 seconds.",
    advice="Look at its plan (`aegis db stats slow --plans`).",
    limits=Limits(warning=5),
    unit="s",
)
async def slow_running(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List statements that have been running for seconds."""
    return await _running(conn, ask.limits.warning or 0)


@check(
    "long-running",
    "load",
    "Statements that run for minutes",
    means="They hold their snapshot: dead rows pile up, and DDL waits behind them.",
    advice="Cancel it if nobody waits for it, or give its role a statement_timeout.",
    limits=Limits(warning=60, critical=1_800),
    unit="s",
)
async def long_running(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List statements that have been running for minutes; vacuum and copies are left out."""
    return await _running(conn, ask.limits.warning or 0)


@check(
    "long-transactions",
    "load",
    "Long transactions",
    means="VACUUM removes nothing that is newer than the oldest of them.",
    advice="End it; split long work into short transactions.",
    limits=Limits(warning=600, critical=3_600),
    unit="s",
)
async def long_transactions(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List transactions by age."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            pid,
            coalesce(usename, '?'),
            coalesce(state, '?'),
            extract(epoch FROM clock_timestamp() - xact_start)::float8
        FROM pg_stat_activity
        WHERE xact_start IS NOT NULL
          AND backend_type = 'client backend'
          AND pid <> pg_backend_pid()
        ORDER BY 4 DESC
        LIMIT 50
        """,
    )
    return [
        Seen(
            object=f"pid {pid}",
            observed=f"open for {seconds(age)} ({user}, {state})",
            value=age,
            fix=f"SELECT pg_terminate_backend({pid});",
        )
        for pid, user, state, age in found
    ]


@check(
    "blocked",
    "load",
    "Sessions that wait for a lock",
    means="Work stands still until whoever holds the lock ends the transaction.",
    advice="Look at what the blocker does; end it if it is forgotten.",
    limits=Limits(warning=5, critical=60),
    unit="s",
)
async def blocked(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say who waits for whom, with the head of the queue as the one to end."""
    del ask
    # pg_blocking_pids stops the lock manager for a moment: only those that wait are asked about.
    found = await rows(
        conn,
        """
        WITH waiting AS MATERIALIZED (
            SELECT a.pid, a.query_start, a.query, pg_blocking_pids(a.pid) AS blockers,
                   (SELECT min(l.waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted)
                       AS since
            FROM pg_stat_activity a
            WHERE a.wait_event_type = 'Lock'
            ORDER BY a.query_start
            LIMIT 50
        )
        SELECT
            w.pid,
            extract(epoch FROM clock_timestamp() - coalesce(w.since, w.query_start))::float8,
            b.pid,
            coalesce(b.usename, '?'),
            coalesce(b.state, '?'),
            left(regexp_replace(w.query, '\\s+', ' ', 'g'), 120),
            left(regexp_replace(b.query, '\\s+', ' ', 'g'), 120)
        FROM waiting w
        JOIN pg_stat_activity b ON b.pid = w.blockers[1]
        WHERE w.pid <> pg_backend_pid()
        ORDER BY 2 DESC
        """,
    )
    waiting = {pid for pid, *_ in found}
    return [
        Seen(
            object=f"pid {pid}",
            observed=f"waits {seconds(age)} for pid {by} ({user}, {state}): {text!r} behind "
            f"{held!r}",
            value=age,
            # Whoever waits itself is not the one to end.
            fix=None if by in waiting else f"SELECT pg_terminate_backend({by});",
        )
        for pid, age, by, user, state, text, held in found
    ]


@check(
    "prepared-transactions",
    "load",
    "Forgotten two-phase transactions",
    means="Nobody ended them: they hold locks over restarts, and keep VACUUM from its work.",
    advice="COMMIT PREPARED or ROLLBACK PREPARED, as their program says.",
    limits=Limits(warning=300, critical=3_600),
    unit="s",
)
async def prepared(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List them by age."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            gid,
            format('ROLLBACK PREPARED %L;', gid),
            extract(epoch FROM clock_timestamp() - prepared)::float8
        FROM pg_prepared_xacts
        WHERE database = current_database()
        ORDER BY 3 DESC
        LIMIT 50
        """,
    )
    return [
        Seen(object=gid, observed=f"prepared {seconds(age)} ago", value=age, fix=fix)
        for gid, fix, age in found
    ]


CHECKS = (
    latency,
    connections,
    connections_total,
    idle_in_transaction,
    idle_count,
    slow_running,
    long_running,
    long_transactions,
    blocked,
    prepared,
)
