"""SQL of tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import sql

from aegis.db import fetch_all, fetch_one
from aegis.keys.models import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.db import Connection

__all__ = ["list_tiers", "update_tier"]

_COLUMNS: Final = """
    t.name, t.rate_limit, t.monthly_quota, t.price_usd, t.overage_allowed, t.rollover_limit,
    t.updated_at
"""
_SETTABLE: Final[dict[str, LiteralString]] = {
    "rate_limit": "integer",
    "monthly_quota": "integer",
    "price_usd": "numeric",
    "overage_allowed": "boolean",
    "rollover_limit": "integer",
}


async def list_tiers(conn: Connection) -> list[Tier]:
    """Return the tiers, the smallest first."""
    return await fetch_all(
        conn,
        Tier,
        "SELECT "
        + _COLUMNS
        + """
        FROM api_tiers t
        ORDER BY array_position(ARRAY['free', 'developer', 'pro', 'enterprise'], t.name::text)
        """,
    )


async def update_tier(conn: Connection, name: str, changes: Mapping[str, Any]) -> Tier:
    """Set columns of a tier and return it (`NotFound`)."""
    assignments = [
        sql.SQL("{} = {}::{}").format(
            sql.Identifier(column), sql.Placeholder(column), sql.SQL(_SETTABLE[column])
        )
        for column in changes
    ]
    statement = sql.SQL(
        "UPDATE api_tiers AS t SET {}, updated_at = now() WHERE t.name = %(tier)s RETURNING {}"
    ).format(sql.SQL(", ").join(assignments), sql.SQL(_COLUMNS))
    return await fetch_one(
        conn,
        Tier,
        statement,
        {**changes, "tier": name},
        missing=f"There is no row of tier {name} in api_tiers; insert it again.",
    )
