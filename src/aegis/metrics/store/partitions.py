"""Partitions by day, of samples and of minutes: made ahead, dropped whole when they are old.

A day's partition is named for it, `container_metrics_p20260501`; what was there before the table
was partitioned is `container_metrics_before_20260501`, which ends with that day's beginning.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from aegis.db import execute

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = [
    "Parted",
    "attach_day",
    "delete_strays",
    "drop",
    "list_partitions",
    "list_stray_days",
    "lock",
    "name_of",
]

#: The partitioned tables.
Parted = Literal["container_metrics", "container_metrics_1m"]
_NAME: Final = re.compile(r"_(p|before_)(\d{8})$")
#: Any number that nobody else takes: who makes or drops partitions holds it.
_LOCK: Final = 0x6165_6769_7301_0018


def name_of(table: Parted, day: date) -> str:
    """Return the name of a day's partition."""
    return f"{table}_p{day:%Y%m%d}"


async def lock(conn: Connection) -> None:
    """Let one session at a time change partitions, until the transaction ends."""
    await execute(conn, "SELECT pg_advisory_xact_lock(%(key)s)", {"key": _LOCK})


async def list_partitions(conn: Connection, table: Parted) -> dict[str, date]:
    """Return each partition of whole days with the day on which it ends (exclusive)."""
    cursor = await conn.execute(
        """
        SELECT c.relname
        FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = %(table)s::regclass
        ORDER BY c.relname
        """,
        {"table": table},
    )
    found: dict[str, date] = {}
    for (name,) in await cursor.fetchall():
        match = _NAME.search(name)
        if match is not None:
            day = datetime.strptime(match[2], "%Y%m%d").replace(tzinfo=UTC).date()
            found[name] = day + timedelta(days=1) if match[1] == "p" else day
    return found


async def attach_day(conn: Connection, table: Parted, day: date) -> str:
    """Make the partition of a day; rows of it that lie in the default partition move there.

    The owner's function makes it beside and attaches it, which lets readers and writers of other
    days go on. The caller holds `lock`, and knows that no partition covers the day.
    """
    cursor = await conn.execute(
        "SELECT aegis_metrics_partition(%(table)s, %(day)s)", {"table": table, "day": day}
    )
    row: Any = await cursor.fetchone()
    return str(row[0])


async def drop(conn: Connection, partition: str) -> None:
    """Drop a partition with its rows, in a transaction of its own.

    It waits a moment for whoever reads the table: whoever writes meanwhile waits behind it.
    """
    await execute(conn, "SELECT set_config('lock_timeout', '500ms', true)")
    await conn.execute("SELECT aegis_metrics_drop(%(partition)s)", {"partition": partition})


async def list_stray_days(conn: Connection, *, since: datetime, until: datetime) -> list[date]:
    """Return days of samples that lie in the default partition: written before their day's."""
    cursor = await conn.execute(
        """
        SELECT DISTINCT (timestamp AT TIME ZONE 'UTC')::date
        FROM container_metrics_default
        WHERE timestamp >= %(since)s
          AND timestamp < %(until)s
        ORDER BY 1
        """,
        {"since": since, "until": until},
    )
    return [day for (day,) in await cursor.fetchall()]


async def delete_strays(conn: Connection, *, before: datetime) -> int:
    """Delete samples before `before` that lie in the default partition: nothing drops that."""
    return await execute(
        conn,
        "DELETE FROM container_metrics_default WHERE timestamp < %(before)s",
        {"before": before},
    )
