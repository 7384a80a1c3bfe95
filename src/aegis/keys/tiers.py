"""Tiers: what free, developer, pro and enterprise allow and cost, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.keys import validate
from aegis.keys.store import tiers as store
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.keys.models import Tier

__all__ = ["Tiers"]

_FIELDS = ("rate_limit", "monthly_quota", "price_usd", "overage_allowed", "rollover_limit")


class Tiers:
    """The tiers of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self) -> Sequence[Tier]:
        """Return the tiers, the smallest first."""
        async with self._db.transaction() as conn:
            return await store.list_tiers(conn)

    async def set(self, name: str, /, **changes: Any) -> Tier:
        """Change `rate_limit`, `monthly_quota`, `price_usd`, `overage_allowed`, `rollover_limit`.

        Keys without limits of their own follow at once; a month that a key has begun keeps its
        quota. A `monthly_quota` of None is any number of calls.

        Raises:
            InvalidInput: there is no such tier, or a value cannot be accepted.
        """
        validate.check_tier(name)
        unknown = sorted(set(changes) - set(_FIELDS))
        if unknown or not changes:
            what = repr(unknown[0]) if unknown else "nothing"
            raise InvalidInput(f"The change names {what}; use {', '.join(_FIELDS)}.")
        checked = dict(changes)
        if "rate_limit" in checked:
            validate.check_rate(checked["rate_limit"])
        if checked.get("monthly_quota") is not None:
            validate.check_quota(checked["monthly_quota"])
        if "rollover_limit" in checked:
            validate.check_quota(checked["rollover_limit"], "rollover_limit")
        if "price_usd" in checked:
            checked["price_usd"] = validate.check_price(checked["price_usd"])
        if "overage_allowed" in checked and not isinstance(checked["overage_allowed"], bool):
            raise InvalidInput(
                f"overage_allowed is {checked['overage_allowed']!r}; use true or false."
            )
        async with audited(self._db) as conn:
            tier = await store.update_tier(conn, name, checked)
            note(conn, "keys.tier_set", "tier", name, **checked)
            return tier
