"""What research accepts. Pure; every refusal names the field and the value."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aegis.errors import InvalidInput
from aegis.memory.validate import check_choice, check_json_object, check_key, check_text
from aegis.research.models import METERS, PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.research.models import Price

__all__ = ["job_id", "key", "model", "options", "price", "priority", "query", "usd"]

MAX_QUERY = 20_000
MAX_USD = Decimal(1_000_000)


def query(value: Any) -> str:
    """Return a question without blank ends."""
    check_text("query", value, most=MAX_QUERY)
    text: str = value.strip()
    return text


def job_id(value: Any) -> str:
    """Return an id in its usual form."""
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"id is {value!r:.60}; give the id of a research job.") from None


def usd(name: str, value: Any) -> Decimal:
    """Return an amount of US dollars."""
    try:
        # A binary fraction is meant as it is written.
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (ArithmeticError, ValueError, TypeError):
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise InvalidInput(f"{name} is {value!r:.60}; give US dollars, 0 to {MAX_USD:,}.")
    return amount


def model(value: Any) -> str | None:
    """Return the name of a model, None for the provider's usual one."""
    if value is None:
        return None
    check_text("model", value, most=200)
    name: str = value
    if not name.isascii() or not name.isprintable() or " " in name:
        raise InvalidInput(f"model is {name!r:.60}; give a model's name.")
    return name


def key(value: Any) -> str | None:
    """Return a key, None for none."""
    if value is not None:
        check_key("idempotency_key", value)
    return value


def priority(value: Any) -> int:
    """Return a priority."""
    if isinstance(value, bool) or not isinstance(value, int) or not -1_000 <= value <= 1_000:
        raise InvalidInput(f"priority is {value!r:.60}; use -1000 to 1000.")
    return value


def options(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options as an object; which there are is the provider's to say."""
    check_json_object("options", value)
    return dict(value or {})


def price(value: Price) -> Price:
    """Return a price (`InvalidInput` for a field that cannot be)."""
    check_choice("provider", value.provider, PROVIDERS)
    check_choice("meter", value.meter, METERS)
    check_text("model", value.model, most=200)
    check_text("source", value.source, most=2_000)
    if isinstance(value.per, bool) or not 1 <= value.per <= 1_000_000_000:
        raise InvalidInput(f"per is {value.per!r}; a price is for 1 to 1,000,000,000.")
    if value.source_date.year < 2000 or value.valid_from.year < 2000:
        raise InvalidInput("A price's days are of this century; check valid_from and source_date.")
    return value
