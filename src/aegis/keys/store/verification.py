"""SQL of verification: one statement, whatever the number of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from aegis.db import Connection, Cursor

__all__ = ["Answer", "make_meters", "verify_calls", "write_last_use"]


class Answer(NamedTuple):
    """What became of one group of calls; a tuple, since there is one for every call of a busy day.

    Of limits there is one element each: the key's own rate, its customer's, then those that the
    calls named; where `names` is None there is the key's own alone.
    """

    number: int
    #: One a call; None where the key has no meter yet.
    codes: list[str] | None
    hash: str
    key_id: str | None
    customer_id: str
    key_prefix: str
    name: str | None
    tier: str | None
    scopes: list[str]
    namespaces: list[dict[str, object]] | None
    expires_at: datetime | None
    #: Whether `last_used_at` in the key's row is more than a minute behind.
    unwritten: bool
    at_us: int
    names: list[str] | None
    limits: list[int]
    windows: list[int] | None
    weights: list[int | None] | None
    shared: list[bool] | None
    #: What is not yet forgotten, of each limit after each call; None where none was looked at.
    levels: list[int] | None
    period: date | None
    granted: int
    overage: int
    rooms: list[int]
    customer_period: date | None
    customer_granted: int | None
    customer_rooms: list[int] | None


async def verify_calls(cursor: Cursor, requests: str, *, lazily: bool = False) -> Sequence[Answer]:
    """Return what became of each group of calls in `requests`, a JSON array.

    A cursor serves one after another: making one takes a twentieth of a busy process's time.
    `lazily` lets a transaction of nothing else commit without waiting for the disk, unless quota
    was used.
    """
    await cursor.execute(
        """
        SELECT
            v.number, v.codes, v.hash, v.key_id::text, v.customer_id, v.key_prefix, v.name, v.tier,
            v.scopes, v.namespaces, v.expires_at, v.unwritten, v.at_us, v.names, v.limits,
            v.windows, v.weights, v.shared, v.levels, v.period, v.granted, v.overage, v.rooms,
            v.customer_period, v.customer_granted, v.customer_rooms
        FROM aegis_verify_calls(%(requests)s::jsonb, %(lazily)s) v
        """,
        {"requests": requests, "lazily": lazily},
        prepare=True,
    )
    return [Answer._make(row) for row in await cursor.fetchall()]


async def make_meters(conn: Connection, hashes: Sequence[str]) -> None:
    """Make the meters of keys that have none, such as those that another program inserted."""
    await execute(
        conn,
        """
        INSERT INTO api_key_meters (api_key_id)
        SELECT h.key_id
        FROM unnest(%(hashes)s::text[]) AS g (hash)
        CROSS JOIN LATERAL aegis_key_of_hashes(ARRAY[g.hash]) h
        ORDER BY 1
        ON CONFLICT DO NOTHING
        """,
        {"hashes": list(hashes)},
    )


async def write_last_use(conn: Connection, key_ids: Sequence[str]) -> None:
    """Bring `last_used_at` of keys up to what their meters say; never waits for another writer."""
    await execute(
        conn,
        """
        WITH free AS (
            SELECT k.id
            FROM api_keys k
            WHERE k.id = ANY (%(ids)s::uuid[])
            ORDER BY k.id
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE api_keys k
        SET last_used_at = to_timestamp(m.rate_at / 1000000.0)
        FROM free f
        JOIN api_key_meters m ON m.api_key_id = f.id
        WHERE k.id = f.id
          AND m.rate_at > 0
          -- Once a minute, and only forwards.
          AND (
              k.last_used_at IS NULL
              OR k.last_used_at < to_timestamp(m.rate_at / 1000000.0) - interval '1 minute'
          )
        """,
        {"ids": list(key_ids)},
    )
