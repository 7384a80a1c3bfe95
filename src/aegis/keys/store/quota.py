"""SQL of the ledger: what a key's month has, and how that came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_one
from aegis.keys.models import Balance, LedgerEntry

if TYPE_CHECKING:
    from datetime import date

    from aegis.db import Connection

__all__ = [
    "OpenMonth",
    "adjust_quota",
    "get_balance",
    "list_entries",
    "lock_meter",
    "open_month",
    "top_up",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMonth:
    """The month of a key whose meter is locked, or of a customer whose row is."""

    #: First day; None while there was no quota, or no use.
    period: date | None
    #: Whether that is this month.
    is_current: bool
    granted: int
    used: int
    #: What was used above `granted`; a customer's keys cannot.
    overage: int = 0
    #: Of `granted`, what the quota itself gave: the grant and its adjustments.
    base: int
    #: What the quota is by now; None for any number.
    quota: int | None


async def lock_meter(conn: Connection, key_id: str) -> None:
    """Lock a key's meter until the transaction ends; make it where the key has none."""
    await execute(
        conn,
        """
        INSERT INTO api_key_meters (api_key_id)
        SELECT k.id FROM api_keys k WHERE k.id = %(id)s
        ON CONFLICT DO NOTHING
        """,
        {"id": key_id},
    )
    await execute(
        conn,
        "SELECT FROM api_key_meters WHERE api_key_id = %(id)s FOR UPDATE",
        {"id": key_id},
    )


async def open_month(conn: Connection, key_id: str, *, begin: bool) -> OpenMonth:
    """Return the month of a key whose meter is locked; `begin` opens this one (`NotFound`)."""
    if begin:
        await conn.execute(
            """
            SELECT aegis_open_period(
                %(id)s, date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
            )
            """,
            {"id": key_id},
        )
    return await fetch_one(
        conn,
        OpenMonth,
        """
        SELECT
            m.period,
            -- A clock that was set back leaves the month in the future: that one goes on.
            coalesce(
                m.period >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date, FALSE
            ) AS is_current,
            m.granted,
            m.used,
            m.overage,
            (
                SELECT coalesce(sum(l.amount), 0)::bigint
                FROM api_quota_ledger l
                WHERE l.api_key_id = m.api_key_id
                  AND l.period = m.period
                  AND l.kind IN ('grant', 'adjust')
            ) AS base,
            coalesce(k.monthly_quota, t.monthly_quota) AS quota
        FROM api_key_meters m
        JOIN api_keys k ON k.id = m.api_key_id
        LEFT JOIN api_tiers t
            ON t.name = CASE
                WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
                ELSE 'free'
            END
        WHERE m.api_key_id = %(id)s
        """,
        {"id": key_id},
        missing=f"There is no key {key_id}; `aegis keys list` shows those there are.",
    )


async def adjust_quota(conn: Connection, key_id: str, *, amount: int, note: str) -> None:
    """Change what the open month of a locked meter has by `amount`."""
    await _add(conn, key_id, kind="adjust", amount=amount, note=note)


async def top_up(conn: Connection, key_id: str, *, amount: int, note: str | None) -> None:
    """Add to what the open month of a locked meter has."""
    await _add(conn, key_id, kind="topup", amount=amount, note=note)


async def _add(conn: Connection, key_id: str, *, kind: str, amount: int, note: str | None) -> None:
    await execute(
        conn,
        """
        WITH changed AS (
            UPDATE api_key_meters
            SET granted = granted + %(amount)s
            WHERE api_key_id = %(id)s
            RETURNING api_key_id, period
        )
        INSERT INTO api_quota_ledger (api_key_id, period, kind, amount, note)
        SELECT api_key_id, period, %(kind)s, %(amount)s, %(note)s FROM changed
        """,
        {"id": key_id, "kind": kind, "amount": amount, "note": note},
    )


async def get_balance(conn: Connection, key_id: str) -> Balance:
    """Return this month's quota of a key as a call would find it now (`NotFound`)."""
    return await fetch_one(
        conn,
        Balance,
        """
        WITH month AS (
            SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date AS today
        ),
        found AS (
            SELECT
                k.id::text AS key_id,
                greatest(m.period, n.today) AS period,
                coalesce(m.period >= n.today, FALSE) AS is_open,
                coalesce(k.monthly_quota, t.monthly_quota) AS quota,
                m.granted,
                m.used,
                m.overage,
                -- What the first call of the month will carry over.
                CASE
                    WHEN m.period < n.today THEN least(
                        m.granted + m.overage - m.used
                        + greatest(
                            extract(year FROM age(n.today, m.period)) * 12
                            + extract(month FROM age(n.today, m.period)) - 1,
                            0
                        )::bigint * coalesce(k.monthly_quota, t.monthly_quota),
                        t.rollover_limit
                    )
                    ELSE 0
                END AS carried
            FROM api_keys k
            CROSS JOIN month n
            LEFT JOIN api_key_meters m ON m.api_key_id = k.id
            LEFT JOIN api_tiers t
                ON t.name = CASE
                    WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
                    ELSE 'free'
                END
            WHERE k.id = %(id)s
        )
        SELECT
            f.key_id,
            f.period,
            CASE
                WHEN f.quota IS NULL THEN NULL
                WHEN f.is_open THEN f.granted
                ELSE f.quota + f.carried
            END AS granted,
            CASE WHEN f.is_open THEN f.used ELSE 0 END AS used,
            CASE WHEN f.is_open THEN f.overage ELSE 0 END AS overage,
            CASE
                WHEN f.quota IS NULL THEN NULL
                WHEN f.is_open THEN f.granted + f.overage - f.used
                ELSE f.quota + f.carried
            END AS remaining
        FROM found f
        """,
        {"id": key_id},
        missing=f"There is no key {key_id}; `aegis keys list` shows those there are.",
    )


async def list_entries(
    conn: Connection, key_id: str, *, limit: int, offset: int
) -> list[LedgerEntry]:
    """Return a page of a key's ledger, newest first."""
    return await fetch_all(
        conn,
        LedgerEntry,
        """
        SELECT l.id, l.period, l.kind, l.amount, l.note, l.created_at
        FROM api_quota_ledger l
        WHERE l.api_key_id = %(id)s
        ORDER BY l.period DESC, l.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"id": key_id, "limit": limit, "offset": offset},
    )
