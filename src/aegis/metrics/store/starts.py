"""Starts of containers, one row each whoever notes it; and who measures which machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.metrics.models import Start

__all__ = ["delete_before", "let_go", "list_between", "note", "take"]


async def note(conn: Connection, starts: Sequence[Start]) -> None:
    """Write starts that are not known yet, in order, so that callers cannot block each other."""
    await execute(
        conn,
        """
        INSERT INTO container_starts (container_name, started_at, starts, noted_at)
        SELECT name, at, number, clock_timestamp()
        FROM unnest(%(names)s::text[], %(times)s::timestamptz[], %(numbers)s::integer[])
            AS given (name, at, number)
        ORDER BY name, at
        ON CONFLICT (container_name, started_at) DO NOTHING
        """,
        {
            "names": [start.container_name for start in starts],
            "times": [start.started_at for start in starts],
            "numbers": [start.starts for start in starts],
        },
    )


async def list_between(
    conn: Connection, *, since: datetime, until: datetime
) -> list[tuple[str, float, int]]:
    """Return starts that happened in this time: container, Unix seconds, how many; in order."""
    cursor = await conn.execute(
        """
        SELECT container_name, extract(epoch FROM started_at)::float8, starts
        FROM container_starts
        WHERE started_at > %(since)s
          AND started_at <= %(until)s
        ORDER BY started_at, container_name
        """,
        {"since": since, "until": until},
    )
    return await cursor.fetchall()  # pyright: ignore[reportReturnType]


async def delete_before(conn: Connection, before: datetime) -> int:
    """Delete starts before then; return how many."""
    return await execute(
        conn, "DELETE FROM container_starts WHERE started_at < %(before)s", {"before": before}
    )


async def take(conn: Connection, host: str, owner: str, *, lease_s: float) -> bool:
    """Take the measuring of a machine, or keep it; False where another process does it."""
    return (
        await fetch_value(
            conn,
            """
            INSERT INTO metric_collectors AS c (host, owner, lease_until)
            VALUES (%(host)s, %(owner)s, clock_timestamp() + make_interval(secs => %(lease)s))
            ON CONFLICT (host) DO UPDATE
            SET owner = excluded.owner,
                lease_until = excluded.lease_until
            WHERE c.owner = excluded.owner
               OR c.lease_until < clock_timestamp()
               -- Taken by a clock that was wrong; measuring each hour is the rarest.
               OR c.lease_until > clock_timestamp() + INTERVAL '1 day'
            RETURNING 1
            """,
            {"host": host, "owner": owner, "lease": lease_s},
        )
        is not None
    )


async def let_go(conn: Connection, host: str, owner: str) -> None:
    """Let another process measure the machine at once."""
    await execute(
        conn,
        "DELETE FROM metric_collectors WHERE host = %(host)s AND owner = %(owner)s",
        {"host": host, "owner": owner},
    )
