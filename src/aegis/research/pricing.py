"""What calls cost, as exact decimals: what the provider says, or usage times dated prices. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from aegis.research.models import Call, Cost, Meter, Price

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

__all__ = ["TYPICAL", "cost_of", "estimate", "prices_for", "total"]

#: As the column has them; a provider's own figure may have more.
_PLACES: Final = Decimal("0.0000000001")

#: What a job of usual size uses, for estimates. Gemini's and Perplexity's makers give figures of
#: this size in their documentation; Claude's are those of a question with ten searches.
TYPICAL: Final[Mapping[str, Mapping[Meter, int]]] = {
    "gemini": {
        "input_tokens": 125_000,
        "cached_input_tokens": 125_000,
        "output_tokens": 60_000,
        "searches": 80,
    },
    "perplexity": {
        "input_tokens": 100,
        "output_tokens": 10_000,
        "citation_tokens": 50_000,
        "reasoning_tokens": 100_000,
        "searches": 30,
    },
    "claude": {"input_tokens": 150_000, "output_tokens": 10_000, "searches": 10},
    "local": {},
}


def prices_for(
    prices: Sequence[Price], *, provider: str, model: str | None, on: date
) -> dict[Meter, Price]:
    """Return the price of each meter that holds for a model on a day.

    The longest beginning of the model's name wins, then the latest day that is not after `on`.
    """
    chosen: dict[Meter, Price] = {}
    for price in prices:
        if price.provider != provider or price.valid_from > on:
            continue
        if not (model or "").startswith(price.model):
            continue
        known = chosen.get(price.meter)
        if known is None or _rank(price) > _rank(known):
            chosen[price.meter] = price
    return chosen


def cost_of(call: Call, prices: Mapping[Meter, Price], *, free: bool = False) -> Cost:
    """Return what a call cost; unknown where a meter that it used has no price."""
    if free:
        return Cost(usd=Decimal(0), source="free", detail={})
    if call.given_usd is not None:
        usd = call.given_usd.quantize(_PLACES)
        return Cost(usd=usd, source="provider", detail={"given_usd": str(call.given_usd)})
    return _priced(call.usage, prices)


def estimate(provider: str, prices: Mapping[Meter, Price]) -> Cost:
    """Return what a job of usual size costs at these prices."""
    if provider == "local":
        return Cost(usd=Decimal(0), source="free", detail={})
    return _priced(TYPICAL[provider], prices)


def total(costs: Sequence[Cost]) -> Decimal | None:
    """Return the sum, None where one of them is not known."""
    known = [cost.usd for cost in costs if cost.usd is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _priced(usage: Mapping[Meter, int], prices: Mapping[Meter, Price]) -> Cost:
    used: dict[Meter, int] = {meter: amount for meter, amount in usage.items() if amount > 0}
    if not used:
        # A paid call that reports no usage at all was not free: nobody knows.
        return Cost(usd=None, source="unknown", detail={"why": "no usage was reported"})
    missing: list[str] = sorted(str(meter) for meter in used if meter not in prices)
    lines: dict[str, Any] = {}
    usd = Decimal(0)
    for meter, amount in used.items():
        if meter in prices:
            price = prices[meter]
            part = price.usd * amount / price.per
            usd += part
            lines[meter] = {
                "amount": amount,
                "usd": str(part.quantize(_PLACES)),
                "price": f"{price.usd.normalize():f} per {price.per}",
                "valid_from": price.valid_from.isoformat(),
                "source": price.source,
            }
    if missing:
        return Cost(usd=None, source="unknown", detail={**lines, "unpriced": missing})
    return Cost(usd=usd.quantize(_PLACES), source="prices", detail=lines)


def _rank(price: Price) -> tuple[int, date]:
    return (len(price.model), price.valid_from)
