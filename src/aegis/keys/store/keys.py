"""SQL of keys as their owner manages them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, LiteralString, cast

from psycopg import sql
from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_value
from aegis.keys.models import ApiKey, Binding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["get_key", "insert_key", "list_keys", "revoke_key", "rotate_key", "update_key"]

_COLUMNS: Final = """
    k.id::text AS id,
    k.customer_id,
    k.key_prefix,
    CASE WHEN k.key_prefix LIKE 'aegis_test_%%' THEN 'test' ELSE 'live' END AS environment,
    k.name,
    k.tier,
    k.scopes,
    k.rate_limit,
    k.monthly_quota,
    k.limits,
    k.namespaces,
    coalesce(k.rate_limit, t.rate_limit) AS effective_rate_limit,
    coalesce(k.monthly_quota, t.monthly_quota) AS effective_monthly_quota,
    k.enabled IS TRUE AND k.revoked_at IS NULL AS enabled,
    k.expires_at,
    k.revoked_at,
    k.created_at,
    -- The row follows the meter, a while behind.
    coalesce(
        (
            SELECT greatest(k.last_used_at, to_timestamp(nullif(m.rate_at, 0) / 1000000.0))
            FROM api_key_meters m
            WHERE m.api_key_id = k.id
        ),
        k.last_used_at
    ) AS last_used_at,
    (
        SELECT max(o.valid_until)
        FROM api_key_old_hashes o
        WHERE o.api_key_id = k.id
          AND o.valid_until > now()
    ) AS old_key_until
"""
_TIER: Final = """
LEFT JOIN api_tiers t
    ON t.name = CASE
        WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
        ELSE 'free'
    END
"""
_SETTABLE: Final[dict[str, LiteralString]] = {
    "name": "text",
    "tier": "text",
    "scopes": "text[]",
    "rate_limit": "integer",
    "monthly_quota": "integer",
    "limits": "jsonb",
    "namespaces": "jsonb",
    "enabled": "boolean",
    "expires_at": "timestamptz",
}


async def insert_key(
    conn: Connection,
    *,
    customer_id: str,
    key_hash: str,
    key_prefix: str,
    name: str | None,
    tier: str,
    scopes: list[str],
    rate_limit: int | None,
    monthly_quota: int | None,
    limits: Mapping[str, Any] | None,
    namespaces: Sequence[Mapping[str, Any]] | None,
    expires_at: datetime | None,
) -> str:
    """Store a key and its meter, and return its id."""
    return await fetch_value(
        conn,
        """
        WITH made AS (
            INSERT INTO api_keys (
                customer_id, key_hash, key_prefix, name, tier, scopes,
                rate_limit, monthly_quota, limits, namespaces, expires_at
            )
            VALUES (
                %(customer_id)s, %(key_hash)s, %(key_prefix)s, %(name)s, %(tier)s, %(scopes)s,
                %(rate_limit)s, %(monthly_quota)s, %(limits)s, %(namespaces)s, %(expires_at)s
            )
            RETURNING id
        ),
        metered AS (
            INSERT INTO api_key_meters (api_key_id)
            SELECT id FROM made
        )
        SELECT id::text FROM made
        """,
        {
            "customer_id": customer_id,
            "key_hash": key_hash,
            "key_prefix": key_prefix,
            "name": name,
            "tier": tier,
            "scopes": scopes,
            "rate_limit": rate_limit,
            "monthly_quota": monthly_quota,
            "limits": None if limits is None else Jsonb(limits),
            "namespaces": None if namespaces is None else Jsonb(namespaces),
            "expires_at": expires_at,
        },
    )


async def get_key(conn: Connection, key_id: str) -> ApiKey:
    """Return a key (`NotFound`)."""
    row = await fetch_one(
        conn,
        ApiKey,
        "SELECT " + _COLUMNS + " FROM api_keys k " + _TIER + " WHERE k.id = %(id)s",
        {"id": key_id},
        missing=f"There is no key {key_id}; `aegis keys list` shows those there are.",
    )
    return _bound(row)


async def list_keys(
    conn: Connection,
    *,
    customer_id: str | None,
    tier: str | None,
    enabled: bool | None,
    limit: int,
    offset: int,
) -> list[ApiKey]:
    """Return a page of keys, newest first."""
    rows = await fetch_all(
        conn,
        ApiKey,
        "SELECT "
        + _COLUMNS
        + " FROM api_keys k "
        + _TIER
        + """
        WHERE (%(customer_id)s::text IS NULL OR k.customer_id = %(customer_id)s)
          AND (%(tier)s::text IS NULL OR k.tier = %(tier)s)
          AND (
              %(enabled)s::boolean IS NULL
              OR (k.enabled IS TRUE AND k.revoked_at IS NULL) = %(enabled)s
          )
        ORDER BY k.created_at DESC NULLS LAST, k.id
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {
            "customer_id": customer_id,
            "tier": tier,
            "enabled": enabled,
            "limit": limit,
            "offset": offset,
        },
    )
    return [_bound(row) for row in rows]


async def update_key(conn: Connection, key_id: str, changes: Mapping[str, Any]) -> bool:
    """Set columns of a key that was not revoked; tell whether there is one."""
    assignments = [
        sql.SQL("{} = {}::{}").format(
            sql.Identifier(name), sql.Placeholder(name), sql.SQL(_SETTABLE[name])
        )
        for name in changes
    ]
    statement = sql.SQL("UPDATE api_keys SET {} WHERE id = %(id)s AND revoked_at IS NULL").format(
        sql.SQL(", ").join(assignments)
    )
    documents = ("limits", "namespaces")
    values = {n: Jsonb(v) if n in documents and v is not None else v for n, v in changes.items()}
    return await execute(conn, statement, {**values, "id": key_id}) == 1


async def revoke_key(conn: Connection, key_id: str) -> bool:
    """Take a key back for ever, the older ones of its rotations too; False if it was before."""
    await execute(conn, "DELETE FROM api_key_old_hashes WHERE api_key_id = %(id)s", {"id": key_id})
    return (
        await execute(
            conn,
            """
            UPDATE api_keys
            SET enabled = FALSE,
                revoked_at = clock_timestamp()
            WHERE id = %(id)s
              AND revoked_at IS NULL
            """,
            {"id": key_id},
        )
        == 1
    )


async def rotate_key(
    conn: Connection, key_id: str, *, key_hash: str, key_prefix: str, grace_s: int
) -> bool:
    """Put a new hash in the place of the old one, which works for `grace_s` more; 0 ends all."""
    params = {"id": key_id, "hash": key_hash, "prefix": key_prefix, "grace_s": grace_s}
    # Two rotations at once follow each other here; each keeps what it replaced.
    old = await fetch_value(
        conn,
        """
        SELECT key_hash FROM api_keys WHERE id = %(id)s AND revoked_at IS NULL FOR NO KEY UPDATE
        """,
        params,
    )
    if old is None:
        return False
    await execute(
        conn,
        """
        DELETE FROM api_key_old_hashes
        WHERE (api_key_id = %(id)s AND %(grace_s)s = 0)
           OR (api_key_id = %(id)s AND valid_until < now())
        """,
        params,
    )
    if grace_s > 0:
        await execute(
            conn,
            """
            INSERT INTO api_key_old_hashes (key_hash, api_key_id, valid_until)
            VALUES (%(old)s, %(id)s, clock_timestamp() + make_interval(secs => %(grace_s)s))
            """,
            {**params, "old": old},
        )
    await execute(
        conn,
        "UPDATE api_keys SET key_hash = %(hash)s, key_prefix = %(prefix)s WHERE id = %(id)s",
        params,
    )
    return True


def _bound(row: ApiKey) -> ApiKey:
    """Return a key whose namespaces are what the model says, not what JSON has."""
    if row.namespaces is None:
        return row
    return replace(row, namespaces=[Binding(**cast("Any", one)) for one in row.namespaces])
