"""What models cost, from when on; whoever changes one says when it was looked up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput
from aegis.sessions.models import ModelPrice
from aegis.sessions.store import prices as store
from aegis.sessions.store.usage import sum_usage

if TYPE_CHECKING:
    from uuid import UUID

    from aegis.db import Database

__all__ = ["Prices", "usd"]

_MOST: Final = Decimal(1_000_000)
_MOST_NAME: Final = 200


class Prices:
    """Prices of models, USD for a million tokens: `client.sessions.prices`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self) -> list[ModelPrice]:
        """Return all prices, by model, the newest first."""
        async with self._db.transaction() as conn:
            return await store.list_prices(conn)

    async def put(self, price: ModelPrice) -> int:
        """Write a price and work out anew what it holds for; how many sessions that were.

        Raises:
            InvalidInput: a price is below 0, or the name is none.
        """
        if not 0 < len(price.model.strip()) <= _MOST_NAME or not price.model.isprintable():
            raise InvalidInput(f"model is {price.model[:40]!r}; give the beginning of its name.")
        if price.valid_from.tzinfo is None:
            raise InvalidInput("valid_from has no zone; give one.")
        for name in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"):
            value: Decimal = getattr(price, f"{name}_usd")
            if not (value.is_finite() and 0 <= value <= _MOST):
                raise InvalidInput(f"{name}_usd is {value}; it is 0 to {_MOST:,}.")
        known = price.known_on or datetime.now(UTC).date()
        async with self._db.transaction() as conn:
            await store.put_price(conn, replace(price, known_on=known))
            touched: list[UUID] = await store.list_priced_sessions(conn, price)  # pyright: ignore[reportAssignmentType]
            for row_id in touched:
                await sum_usage(conn, row_id)
        return len(touched)


def usd(name: str, text: str) -> Decimal:
    """Return an amount of USD (`InvalidInput`)."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidInput(f"{name} is {text[:40]!r}; give USD for a million tokens.") from None
