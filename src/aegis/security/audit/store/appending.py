"""SQL that adds to the log, as text once: migrations and restores run it without `async`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

from psycopg.rows import class_row

from aegis.db import execute, fetch_one
from aegis.security.audit.models import Head, LockedHead, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from aegis.db import Connection

__all__ = [
    "SyncConnection",
    "append",
    "append_now",
    "find_head_now",
    "has_log",
    "lock_head",
    "lock_head_now",
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


async def lock_head(conn: Connection) -> LockedHead:
    """Lock the head and return it; waits for whoever appends until that one's end."""
    return await fetch_one(conn, LockedHead, _LOCK, missing="The audit log has no head.")


def has_log(conn: SyncConnection) -> bool:
    """Tell whether the database has an audit log at all."""
    row = conn.execute("SELECT to_regclass('audit_head') IS NOT NULL").fetchone()
    return bool(row and row[0])


def find_head_now(conn: SyncConnection) -> Head | None:
    """Return the head as the transaction sees it, without waiting for anybody."""
    with conn.cursor(row_factory=class_row(Head)) as cursor:
        return cursor.execute("SELECT log_id, seq, hash FROM audit_head").fetchone()


def lock_head_now(conn: SyncConnection) -> LockedHead | None:
    """Do what `lock_head` does, without `async`."""
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
