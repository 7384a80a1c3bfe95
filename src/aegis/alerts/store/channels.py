"""SQL of channels: what the database knows of them, which is not their address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.alerts.models import Channel
from aegis.db import execute, fetch_all

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.alerts.addresses import Address
    from aegis.db import Connection

__all__ = ["list_channels", "put_channel", "record_outcome"]


async def list_channels(conn: Connection, *, seen_since: datetime | None = None) -> list[Channel]:
    """Return the channels by name; with `seen_since` those that a process named since then."""
    return await fetch_all(
        conn,
        Channel,
        """
        SELECT name, kind, shown, least_severity, quiet_from, quiet_until, quiet, seen_at,
               sent_at, failed_at, last_error, failures
        FROM alert_channels
        WHERE %(since)s::timestamptz IS NULL
           OR seen_at > %(since)s
        ORDER BY name
        """,
        {"since": seen_since},
    )


async def put_channel(conn: Connection, address: Address) -> None:
    """Say that a channel is there, as the settings of this process have it."""
    await execute(
        conn,
        """
        INSERT INTO alert_channels (
            name, kind, shown, least_severity, quiet_from, quiet_until, quiet, seen_at
        )
        VALUES (
            %(name)s, %(kind)s, %(shown)s, %(least)s, %(from)s, %(until)s, %(quiet)s,
            clock_timestamp()
        )
        ON CONFLICT (name) DO UPDATE
        SET kind = excluded.kind,
            shown = excluded.shown,
            least_severity = excluded.least_severity,
            quiet_from = excluded.quiet_from,
            quiet_until = excluded.quiet_until,
            quiet = excluded.quiet,
            seen_at = excluded.seen_at
        """,
        {
            "name": address.name,
            "kind": address.kind,
            "shown": address.shown,
            "least": address.least_severity,
            "from": None if address.quiet is None else address.quiet.windows[0].begin,
            "until": None if address.quiet is None else address.quiet.windows[0].end,
            "quiet": None if address.quiet is None else str(address.quiet),
        },
    )


async def record_outcome(conn: Connection, name: str, error: str | None) -> None:
    """Note whether the last message to a channel arrived."""
    await execute(
        conn,
        """
        UPDATE alert_channels
        SET sent_at = CASE WHEN %(error)s::text IS NULL THEN clock_timestamp() ELSE sent_at END,
            failed_at =
                CASE WHEN %(error)s::text IS NULL THEN failed_at ELSE clock_timestamp() END,
            last_error = %(error)s,
            failures = CASE WHEN %(error)s::text IS NULL THEN 0 ELSE failures + 1 END
        WHERE name = %(name)s
        """,
        {"name": name, "error": error},
    )
