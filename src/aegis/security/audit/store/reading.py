"""SQL that reads the log, and what lets old rows go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from psycopg.rows import class_row

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.security.audit.models import Head, Row, Seal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "begin_snapshot",
    "count_through",
    "delete_through",
    "find_row",
    "first_row",
    "get_head",
    "insert_seal",
    "last_row_before",
    "list_rows",
    "list_seals",
    "lock_seals",
    "newest_row",
    "now",
    "stream_rows",
]

_ROW: Final[LiteralString] = """
    seq, recorded_at, action, actor_kind, actor_id, face, request_id, object_kind, object_id,
    details::text AS details, previous_hash, hash, secret_id, signature
"""


async def get_head(conn: Connection) -> Head:
    """Return the head (`NotFound`)."""
    return await fetch_one(
        conn,
        Head,
        "SELECT log_id, seq, hash FROM audit_head",
        missing="The audit log has no head: somebody took it away.",
    )


async def begin_snapshot(conn: Connection) -> None:
    """Have the transaction that begins see one moment, and write nothing."""
    await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def stream_rows(conn: Connection, *, after: int, page: int) -> AsyncGenerator[list[Row]]:
    """Yield rows in their order, those behind `after`, a page at a time, by a cursor there."""
    async with conn.cursor(name="aegis_audit", row_factory=class_row(Row)) as cursor:
        await cursor.execute(
            # Together they are a literal still.
            "SELECT " + _ROW + "FROM audit_log WHERE seq > %(after)s ORDER BY seq",
            {"after": after},
        )
        while rows := await cursor.fetchmany(page):
            yield rows


async def count_through(conn: Connection, seq: int) -> int:
    """Return how many rows there are up to a number."""
    return await fetch_value(
        conn, "SELECT count(*) FROM audit_log WHERE seq <= %(seq)s", {"seq": seq}
    )


async def find_row(conn: Connection, seq: int) -> Row | None:
    """Return one row."""
    return await fetch_optional(
        conn, Row, "SELECT " + _ROW + "FROM audit_log WHERE seq = %(seq)s", {"seq": seq}
    )


async def list_rows(
    conn: Connection,
    *,
    since: datetime | None,
    until: datetime | None,
    actors: Sequence[str] | None,
    action: str | None,
    object_kind: str | None,
    object_ids: Sequence[str] | None,
    before: int | None,
    limit: int,
) -> list[Row]:
    """Return rows, the newest first; `actors` are kinds or ids, `action` may end with `.*`."""
    return await fetch_all(
        conn,
        Row,
        "SELECT "
        + _ROW
        + """
        FROM audit_log
        WHERE (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR recorded_at < %(until)s)
          AND (
            %(actors)s::text[] IS NULL
            OR actor_kind = ANY (%(actors)s)
            OR actor_id = ANY (%(actors)s)
          )
          AND (%(action)s::text IS NULL OR action = %(action)s)
          AND (%(area)s::text IS NULL OR starts_with(action, %(area)s))
          AND (%(object_kind)s::text IS NULL OR object_kind = %(object_kind)s)
          AND (%(object_ids)s::text[] IS NULL OR object_id = ANY (%(object_ids)s))
          AND (%(before)s::bigint IS NULL OR seq < %(before)s)
        ORDER BY seq DESC
        LIMIT %(limit)s
        """,
        {
            "since": since,
            "until": until,
            "actors": None if actors is None else list(actors),
            "action": None if action is None or action.endswith(".*") else action,
            "area": action[:-1] if action is not None and action.endswith(".*") else None,
            "object_kind": object_kind,
            "object_ids": None if object_ids is None else list(object_ids),
            "before": before,
            "limit": limit,
        },
    )


async def list_seals(conn: Connection) -> list[Seal]:
    """Return the seals in their order."""
    return await fetch_all(
        conn,
        Seal,
        """
        SELECT through_seq, from_seq, hash, row_count, first_recorded_at, last_recorded_at,
               sealed_at, secret_id, signature
        FROM audit_seals
        ORDER BY through_seq
        """,
    )


async def last_row_before(conn: Connection, before: datetime, *, keep: int) -> Row | None:
    """Return the last row of those that are older than a time, less the newest `keep`."""
    return await fetch_optional(
        conn,
        Row,
        "SELECT "
        + _ROW
        + """
        FROM audit_log
        WHERE seq < coalesce(
            -- The first that must stay.
            (SELECT min(seq) FROM audit_log WHERE recorded_at >= %(before)s),
            (SELECT max(seq) + 1 FROM audit_log)
        )
          AND seq <= (SELECT max(seq) - %(keep)s FROM audit_log)
        ORDER BY seq DESC
        LIMIT 1
        """,
        {"before": before, "keep": keep},
    )


async def first_row(conn: Connection) -> Row | None:
    """Return the first row that is there."""
    return await fetch_optional(conn, Row, "SELECT " + _ROW + "FROM audit_log ORDER BY seq LIMIT 1")


async def lock_seals(conn: Connection) -> None:
    """Have one seal at a time; appending goes on."""
    await conn.execute("LOCK TABLE audit_seals IN SHARE ROW EXCLUSIVE MODE")


async def now(conn: Connection) -> datetime:
    """Return the server's time."""
    return await fetch_value(conn, "SELECT clock_timestamp()")


async def insert_seal(conn: Connection, seal: Seal) -> None:
    """Write a seal; the rows that it covers may go from then on."""
    await execute(
        conn,
        """
        INSERT INTO audit_seals (
            through_seq, from_seq, hash, row_count, first_recorded_at, last_recorded_at,
            sealed_at, secret_id, signature
        )
        VALUES (
            %(through_seq)s, %(from_seq)s, %(hash)s, %(row_count)s, %(first_recorded_at)s,
            %(last_recorded_at)s, %(sealed_at)s, %(secret_id)s, %(signature)s
        )
        """,
        {name: getattr(seal, name) for name in Seal.__dataclass_fields__},
    )


async def delete_through(conn: Connection, seq: int) -> int:
    """Delete the rows that a seal covers and return how many."""
    return await execute(conn, "DELETE FROM audit_log WHERE seq <= %(seq)s", {"seq": seq})


async def newest_row(conn: Connection) -> Row | None:
    """Return the last row that is there."""
    return await fetch_optional(
        conn, Row, "SELECT " + _ROW + "FROM audit_log ORDER BY seq DESC LIMIT 1"
    )
