"""What counters say of an interval: cache, deadlocks, statements, growth."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.errors import NotFound
from aegis.ops.health.looking import check, rows, seconds, size, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen
from aegis.ops.stats import counters, history, statements
from aegis.ops.stats.service import growth as list_growth
from aegis.ops.stats.service import interval as read_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.ops.health.models import Ask
    from aegis.ops.stats.models import Interval

__all__ = ["CHECKS"]

_HOURS: Final = 3.0
_NO_SNAPSHOT: Final = "there is no snapshot yet; `aegis db stats snapshot` takes one"
_GB: Final = 1 << 30


async def _interval(conn: Connection, ask: Ask) -> Interval:
    try:
        if "interval" not in ask.memo:
            ask.memo["interval"] = await read_interval(conn, hours=_HOURS)
    except NotFound:
        raise CouldNotCheck(_NO_SNAPSHOT) from None
    return ask.memo["interval"]


def _span(interval: Interval) -> str:
    text = seconds((interval.until - interval.since).total_seconds())
    return f"in {text}" if interval.whole else f"since a reset {text} ago"


def _hit_ratio(interval: Interval, hit: int, read: int, least: float) -> Seen:
    blocks = hit + read
    if blocks < least:
        text = f"{blocks:,} blocks {_span(interval)}, too few to tell"
        return Seen(observed=text, state="ok")
    share = 100 * hit / blocks
    return Seen(observed=f"{share:.2f} % of {blocks:,} blocks {_span(interval)}", value=share)


@check(
    "cache-hit",
    "cache",
    "Tables found in shared buffers",
    means="What is not cached is read from the system; the specification's target is above 99 %, "
    "its alarm below 95 %.",
    advice="Raise shared_buffers, or find the statement that reads whole tables "
    "(`aegis db stats statements`).",
    limits=Limits(warning=99, critical=95, least=10_000),
    unit="%",
    least_of="blocks in the interval",
    below=True,
)
async def cache_hit(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how many blocks of tables were in the cache since the snapshot of three hours ago."""
    found = await _interval(conn, ask)
    return [_hit_ratio(found, found.heap_hit, found.heap_read, ask.limits.least)]


@check(
    "index-cache-hit",
    "cache",
    "Indexes found in shared buffers",
    means="Searches wait for reads.",
    advice="Raise shared_buffers, or drop indexes that nobody reads (`unused-indexes`).",
    limits=Limits(warning=99, critical=95, least=10_000),
    unit="%",
    least_of="blocks in the interval",
    below=True,
)
async def index_cache_hit(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say the same of indexes."""
    found = await _interval(conn, ask)
    return [_hit_ratio(found, found.index_hit, found.index_read, ask.limits.least)]


@check(
    "deadlocks",
    "load",
    "Deadlocks",
    means="Transactions took locks in different orders; one of each was rolled back.",
    advice="The server's log names both statements; take locks in one order.",
    limits=Limits(warning=1),
)
async def deadlocks(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count them since the snapshot of three hours ago."""
    found = await _interval(conn, ask)
    return [Seen(observed=f"{found.deadlocks} {_span(found)}", value=found.deadlocks)]


@check(
    "temp-files",
    "cache",
    "Temporary files",
    means="Sorts and hashes did not fit into work_mem and went over the disk.",
    advice="Raise work_mem for the role or the statement; the server's log names it.",
    limits=Limits(warning=10),
    unit="GB",
)
async def temp_files(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Sum what was written to them since the snapshot of three hours ago."""
    found = await _interval(conn, ask)
    text = f"{size(found.temp_bytes)} {_span(found)}"
    return [Seen(observed=text, value=found.temp_bytes / _GB)]


async def _statements(conn: Connection, since: datetime) -> tuple[list[statements.Kept], datetime]:
    begun = await counters.first_snapshot(conn)
    place = await statements.find_schema(conn)
    if place is None:
        raise CouldNotCheck("pg_stat_statements is not there; see the check `statements-missing`")
    if begun is None:
        raise CouldNotCheck(_NO_SNAPSHOT)
    kept = await statements.list_kept(conn, since=since)
    kept += await statements.list_now(conn, place)
    kept.sort(key=lambda k: (k.query_id, k.taken_at))
    return kept, begun


def _short(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= 160 else text[:159] + "…"


@check(
    "slow-statements",
    "statements",
    "Slow statements",
    means="They are slow on the mean, not once; the specification's alarm is above 5 seconds.",
    advice="Look at the plan (`aegis db stats plans`) and at `aegis db stats advice`.",
    limits=Limits(warning=20, critical=5_000, least=100),
    unit="ms on the mean",
    least_of="calls",
)
async def slow_statements(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List statements by their mean since the snapshot of three hours ago."""
    since = ask.now - timedelta(hours=_HOURS)
    kept, begun = await _statements(conn, since)
    found = history.intervals(kept, since=since, begun_at=begun)
    return [
        Seen(
            object=str(one.query_id),
            observed=f"{one.mean_ms:,.0f} ms, {one.calls:,} calls: {_short(one.query)}",
            value=one.mean_ms,
        )
        for one in found
        if one.calls >= ask.limits.least
    ]


@check(
    "statement-regressions",
    "statements",
    "Statements that have become slower",
    means="A plan, the data or the load changed; it was faster before.",
    advice="ANALYZE its tables; compare the plans (`aegis db stats regressions`).",
    limits=Limits(warning=2, critical=10, least=5),
    unit="times as long as before",
    least_of="mean in ms",
)
async def statement_regressions(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare the last day with the 30 days before."""
    since = ask.now - timedelta(days=1)
    kept, begun = await _statements(conn, since - timedelta(days=30))
    found = history.regressions(
        kept,
        since=since,
        begun_at=begun,
        ratio=ask.limits.warning or 2,
        least_ms=ask.limits.least,
    )
    return [
        Seen(
            object=str(one.query_id),
            observed=f"{one.before_ms:,.1f} → {one.mean_ms:,.1f} ms: {_short(one.query)}",
            value=one.ratio,
        )
        for one in found
    ]


async def _room(conn: Connection, ask: Ask) -> tuple[int, int, str]:
    """Return bytes of the database, bytes that it may take in all, and where that is from."""
    if "database_bytes" not in ask.memo:
        ask.memo["database_bytes"] = int(
            await value(conn, "SELECT pg_database_size(current_database())")
        )
    taken: int = ask.memo["database_bytes"]
    if ask.settings.health_storage_gb > 0:
        return taken, int(ask.settings.health_storage_gb * _GB), "AEGIS_HEALTH_STORAGE_GB"
    usage = await _disk(conn)
    return taken, taken + usage.free, "the disk"


async def _disk(conn: Connection) -> shutil._ntuple_diskusage:  # pyright: ignore[reportPrivateUsage]
    """Return the usage of the disk that holds the data, if this is the server's machine."""
    ((here, folder),) = await rows(
        conn,
        "SELECT coalesce(inet_server_addr() << inet '127.0.0.0/8' OR inet_server_addr() = '::1', "
        "true), current_setting('data_directory')",
    )
    if not here:
        raise CouldNotCheck(
            "the server is another machine; say its room with AEGIS_HEALTH_STORAGE_GB"
        )
    try:
        return shutil.disk_usage(Path(folder))
    except OSError as error:
        raise CouldNotCheck(f"{folder} cannot be looked at ({error.strerror})") from None


@check(
    "database-size",
    "storage",
    "Room that the database takes",
    means="When it is used up, nothing is written; the specification's alarm is above 80 % of the "
    "allocated storage.",
    advice="Shorten retention, drop what nobody reads, or give it more room.",
    limits=Limits(warning=80, critical=90),
    unit="%",
)
async def database_size(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare the size of the database with what it may take."""
    taken, most, of = await _room(conn, ask)
    share = 100 * taken / most
    return [Seen(observed=f"{size(taken)} of {size(most)} ({of}), {share:.0f} %", value=share)]


@check(
    "disk-space",
    "storage",
    "The disk of the data",
    means="A full disk stops the server, whoever filled it.",
    advice="Make room: logs, old archives, pg_wal that a slot keeps (`slot-wal`).",
    limits=Limits(warning=80, critical=90),
    unit="%",
)
async def disk_space(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how full the disk is."""
    del ask
    usage = await _disk(conn)
    share = 100 * (usage.total - usage.free) / usage.total
    return [
        Seen(observed=f"{share:.0f} % of {size(usage.total)}, {size(usage.free)} free", value=share)
    ]


@check(
    "growth",
    "storage",
    "Days until the room is used up",
    means="If it goes on growing as in the last 30 days, nothing can be written then.",
    advice="`aegis db stats growth` says what grows; shorten retention or give it more room.",
    limits=Limits(warning=30, critical=7),
    unit="days",
    below=True,
    fine="not growing",
)
async def growth(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Forecast by the median slope of the snapshots of 30 days."""
    taken, most, _ = await _room(conn, ask)
    past = await list_growth(conn, ask.now - timedelta(days=30))
    whole = next((g for g in past if g.kind == "database"), None)
    if whole is None:
        raise CouldNotCheck("there are less than three snapshots over a day")
    if whole.per_day_bytes < 1:
        return [Seen(observed=f"not growing ({size(whole.per_day_bytes)} a day)", state="ok")]
    left = max(0.0, (most - taken) / whole.per_day_bytes)
    fastest = next((g for g in past if g.kind != "database"), None)
    of = f"; fastest {fastest.object}" if fastest and fastest.per_day_bytes > 0 else ""
    text = f"{size(whole.per_day_bytes)} a day{of}; full in {min(left, 99_999):,.0f} days"
    return [Seen(observed=text, value=left)]


@check(
    "snapshot-age",
    "statements",
    "Age of the newest snapshot",
    means="Without snapshots, checks of an interval and of growth say nothing.",
    advice="`aegis up` takes one each hour; by hand `aegis db stats snapshot`.",
    limits=Limits(warning=3),
    unit="hours",
)
async def snapshot_age(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how old it is."""
    del ask
    age = await value(
        conn,
        """
        SELECT extract(epoch FROM clock_timestamp() - max(taken_at))::float8
        FROM health_snapshots
        """,
    )
    if age is None:
        raise CouldNotCheck(_NO_SNAPSHOT)
    return [Seen(observed=f"{seconds(age)} old", value=age / 3_600)]


CHECKS = (
    cache_hit,
    index_cache_hit,
    deadlocks,
    temp_files,
    slow_statements,
    statement_regressions,
    database_size,
    disk_space,
    growth,
    snapshot_age,
)
