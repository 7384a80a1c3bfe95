"""SQL of the audit log.

Statements that append exist once, as text: migrations and restores run them without `async`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

from psycopg.rows import class_row

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.security.audit.guards import Guard
from aegis.security.audit.models import Head, LockedHead, Row, Seal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from aegis.db import Connection
    from aegis.security.audit.models import Verification

__all__ = [
    "SyncConnection",
    "append",
    "append_now",
    "begin_snapshot",
    "count_through",
    "delete_through",
    "find_row",
    "first_row",
    "get_head",
    "guards",
    "has_log",
    "insert_seal",
    "insert_verification",
    "last_complete",
    "last_row_before",
    "list_rows",
    "list_seals",
    "lock_head",
    "lock_head_now",
    "lock_seals",
    "now",
    "stream_rows",
]

SyncConnection: TypeAlias = "psycopg.Connection[Any]"

#: The time is read once the lock is held: rows are in the order of their times.
_LOCK: Final[LiteralString] = """
    WITH head AS MATERIALIZED (
        SELECT log_id, seq, hash
        FROM audit_head
        FOR UPDATE
    )
    SELECT log_id, seq, hash, clock_timestamp() AS at
    FROM head
"""
_APPEND: Final[LiteralString] = """
    WITH added AS (
        INSERT INTO audit_log (
            seq, recorded_at, action, actor_kind, actor_id, face, request_id, object_kind,
            object_id, details, previous_hash, hash, secret_id, signature
        )
        SELECT
            r.seq, r.recorded_at, r.action, r.actor_kind, r.actor_id, r.face, r.request_id,
            r.object_kind, r.object_id, r.details::jsonb, r.previous_hash, r.hash, r.secret_id,
            r.signature
        FROM unnest(
            %(seq)s::bigint[], %(recorded_at)s::timestamptz[], %(action)s::text[],
            %(actor_kind)s::text[], %(actor_id)s::text[], %(face)s::text[],
            %(request_id)s::text[], %(object_kind)s::text[], %(object_id)s::text[],
            %(details)s::text[], %(previous_hash)s::bytea[], %(hash)s::bytea[],
            %(secret_id)s::text[], %(signature)s::bytea[]
        ) AS r (
            seq, recorded_at, action, actor_kind, actor_id, face, request_id, object_kind,
            object_id, details, previous_hash, hash, secret_id, signature
        )
    )
    UPDATE audit_head
    SET seq = %(last_seq)s,
        hash = %(last_hash)s
"""
_ROW: Final[LiteralString] = """
    seq, recorded_at, action, actor_kind, actor_id, face, request_id, object_kind, object_id,
    details::text AS details, previous_hash, hash, secret_id, signature
"""


async def lock_head(conn: Connection) -> LockedHead:
    """Lock the head and return it; waits for whoever appends until that one's end."""
    return await fetch_one(conn, LockedHead, _LOCK, missing="The audit log has no head.")


def has_log(conn: SyncConnection) -> bool:
    """Tell whether the database has an audit log at all."""
    row = conn.execute("SELECT to_regclass('audit_head') IS NOT NULL").fetchone()
    return bool(row and row[0])


def lock_head_now(conn: SyncConnection) -> LockedHead | None:
    """Do the same without `async`."""
    with conn.cursor(row_factory=class_row(LockedHead)) as cursor:
        return cursor.execute(_LOCK).fetchone()


async def append(conn: Connection, rows: Sequence[Row]) -> None:
    """Write rows, which follow the locked head, and move it on."""
    await execute(conn, _APPEND, _columns(rows))


def append_now(conn: SyncConnection, rows: Sequence[Row]) -> None:
    """Do the same without `async`."""
    conn.execute(_APPEND, _columns(rows))


def _columns(rows: Sequence[Row]) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in Row.__dataclass_fields__
    }
    return {**found, "last_seq": rows[-1].seq, "last_hash": rows[-1].hash}


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


async def guards(conn: Connection) -> dict[str, Guard]:
    """Return the triggers of our tables, by name."""
    cursor = await conn.execute(
        """
        SELECT
            t.tgname::text,
            t.tgrelid::regclass::text,
            p.proname::text,
            t.tgenabled::text,
            t.tgtype::integer,
            t.tgqual IS NULL AND cardinality(t.tgattr::smallint[]) = 0,
            p.prosrc
        FROM pg_trigger t
        JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid IN (
            'audit_log'::regclass, 'audit_head'::regclass, 'audit_seals'::regclass
        )
          AND NOT t.tgisinternal
        """
    )
    return {
        name: Guard(
            table=table,
            function=function,
            enabled=enabled,
            type=bits,
            unconditional=whole,
            source=source,
        )
        for name, table, function, enabled, bits, whole, source in await cursor.fetchall()
    }


async def insert_verification(conn: Connection, found: Verification) -> None:
    """Write down what verifying found, and forget what is older than the last 400."""
    await execute(
        conn,
        """
        WITH added AS (
            INSERT INTO audit_verifications (
                complete, from_seq, through_seq, row_count, problem_count, warning_count,
                first_finding, elapsed_ms
            )
            VALUES (
                %(complete)s, %(from_seq)s, %(through_seq)s, %(rows)s, %(problems)s,
                %(warnings)s, %(first)s, %(elapsed_ms)s
            )
            RETURNING id
        )
        DELETE FROM audit_verifications v
        USING added
        WHERE v.id <= added.id - 400
        """,
        {
            "complete": found.complete,
            "from_seq": found.from_seq,
            "through_seq": found.through_seq,
            "rows": found.rows,
            "problems": found.problems,
            "warnings": found.warnings,
            "first": found.findings[0].text if found.findings else None,
            "elapsed_ms": found.elapsed_ms,
        },
    )


async def last_complete(conn: Connection) -> datetime | None:
    """Return when the whole chain was last verified."""
    return await fetch_value(
        conn, "SELECT max(verified_at) FROM audit_verifications WHERE complete"
    )
