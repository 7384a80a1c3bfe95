"""SQL of hosts: their robots.txt, and when they may be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import execute, fetch_optional, fetch_value

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["HostRobots", "delay_host", "find_robots", "reserve", "set_robots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRobots:
    """A host's robots.txt as it was found."""

    robots: str | None
    robots_status: int
    robots_at: datetime


async def find_robots(conn: Connection, host: str) -> HostRobots | None:
    """Return what is known of a host's robots.txt."""
    return await fetch_optional(
        conn,
        HostRobots,
        """
        SELECT robots, robots_status, robots_at
        FROM competitor_hosts
        WHERE host = %(host)s
          AND robots_at IS NOT NULL
          AND robots_status IS NOT NULL
        """,
        {"host": host},
    )


async def set_robots(conn: Connection, host: str, *, robots: str | None, status: int) -> None:
    """Note a host's robots.txt.

    An answer that is none (status 0 or 5xx) keeps the rules that were known.
    """
    await execute(
        conn,
        """
        INSERT INTO competitor_hosts AS h (host, robots, robots_status, robots_at)
        VALUES (%(host)s, %(robots)s, %(status)s, now())
        ON CONFLICT (host) DO UPDATE
        SET robots = excluded.robots,
            robots_status = excluded.robots_status,
            robots_at = excluded.robots_at
        """,
        {"host": host, "robots": robots, "status": status},
    )


async def reserve(conn: Connection, host: str, *, delay_s: float) -> float:
    """Take the next turn to ask a host, and return the seconds until it comes."""
    return float(
        await fetch_value(
            conn,
            """
            INSERT INTO competitor_hosts AS h (host, next_request_at)
            VALUES (%(host)s, clock_timestamp() + make_interval(secs => %(delay)s))
            ON CONFLICT (host) DO UPDATE
            SET next_request_at = greatest(h.next_request_at, clock_timestamp())
                + make_interval(secs => %(delay)s)
            RETURNING greatest(
                extract(epoch FROM h.next_request_at - clock_timestamp()) - %(delay)s, 0
            )::double precision
            """,
            {"host": host, "delay": delay_s},
        )
    )


async def delay_host(conn: Connection, host: str, *, seconds: float) -> None:
    """Ask a host nothing for so long: it said that it was too much."""
    await execute(
        conn,
        """
        INSERT INTO competitor_hosts AS h (host, next_request_at)
        VALUES (%(host)s, clock_timestamp() + make_interval(secs => %(seconds)s))
        ON CONFLICT (host) DO UPDATE
        SET next_request_at = greatest(h.next_request_at, excluded.next_request_at)
        """,
        {"host": host, "seconds": seconds},
    )
