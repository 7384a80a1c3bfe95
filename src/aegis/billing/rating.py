"""What usage costs under the terms of a plan. Pure, and `Decimal` throughout.

Rounding: each line is computed exactly and rounded once, to the cent, half away from zero
(`ROUND_HALF_UP`, what people do on paper). Sums are sums of rounded lines, so that a total is
always what its lines add up to.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING, Final

from aegis.billing.models import Line
from aegis.billing.terms import ZERO
from aegis.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aegis.billing.models import Charge, LineKind, Meter, Terms, Tier, Usage

__all__ = ["MAX_LINE_USD", "cents", "matches", "price", "quantity_of", "rate"]

#: What the column of an amount holds.
MAX_LINE_USD: Final = Decimal("99999999.99")
_CENT: Final = Decimal("0.01")
#: More digits than any quantity times any price has: nothing is rounded before its cent.
_EXACT: Final = Context(prec=80)


def cents(amount: Decimal) -> Decimal:
    """Return an amount rounded to the cent, half away from zero."""
    return amount.quantize(_CENT, rounding=ROUND_HALF_UP, context=_EXACT)


def matches(endpoint: str, patterns: Sequence[str]) -> bool:
    """Tell whether an endpoint is one of the patterns, each exact or with a `*` at its end."""
    if not patterns:
        return True
    return any(
        endpoint.startswith(pattern[:-1]) if pattern.endswith("*") else endpoint == pattern
        for pattern in patterns
    )


def quantity_of(charge: Charge, used: Iterable[Usage], *, overage: int = 0) -> Decimal:
    """Return how much a charge counts."""
    if charge.meter == "overage":
        return Decimal(overage)
    counted = [usage for usage in used if matches(usage.endpoint, charge.endpoints)]
    return sum((_amount(usage, charge.meter) for usage in counted), ZERO)


def price(charge: Charge, quantity: Decimal, *, included: int | None = None) -> Decimal:
    """Return the exact price of a quantity, before rounding.

    `included` replaces the charge's own, where a part of a month has a part of it. Graduated prices
    each unit by its step; volume prices all of them by the step of the last; package counts those
    that are begun.
    """
    free = charge.included if included is None else included
    paid = _EXACT.subtract(quantity, Decimal(free))
    if paid <= 0:
        return ZERO
    if charge.model == "per_unit":
        return _EXACT.multiply(paid, charge.unit_usd)
    if charge.model == "package":
        packages = _EXACT.divide(paid, Decimal(charge.package_size))
        begun = packages.to_integral_value(rounding=ROUND_CEILING)
        return _EXACT.multiply(begun, charge.package_usd)
    if charge.model == "volume":
        tier = next(t for t in charge.tiers if t.up_to is None or paid <= t.up_to)
        return _step(tier, paid)
    return _graduated(charge.tiers, paid)


def rate(
    terms: Terms,
    used: Sequence[Usage],
    *,
    key: str = "",
    plan: str,
    days: int,
    month_days: int,
    part: Decimal | None = None,
    overage: int = 0,
) -> list[Line]:
    """Return the lines of a plan over `days` of a month of `month_days`.

    Subscription, minimum and included units are taken `days / month_days` times, or `part` times
    where that is given (1 for all, 0 for nothing); included units are rounded down. Prices of units
    and the steps of tiers stay whole. `key` begins the keys of the lines.

    Raises:
        LimitExceeded: a line is more than a row can hold.
    """

    def share(amount: Decimal) -> Decimal:
        if part is not None:
            return _EXACT.multiply(amount, part)
        return _EXACT.divide(_EXACT.multiply(amount, Decimal(days)), Decimal(month_days))

    partly = "" if days == month_days else f", {days} of {month_days} days"
    lines: list[Line] = []
    if terms.flat_usd:
        text = f"{plan}: subscription{partly}"
        lines.append(_line(f"{key}flat", "subscription", text, None, share(terms.flat_usd)))
    for charge in terms.charges:
        quantity = quantity_of(charge, used, overage=overage)
        free = int(share(Decimal(charge.included)))
        kind: LineKind = "overage" if charge.meter == "overage" else "api_usage"
        text = f"{plan}: {charge.name} ({charge.meter}{partly})"
        amount = price(charge, quantity, included=free)
        lines.append(_line(f"{key}charge:{charge.name}", kind, text, quantity, amount))
    short = cents(share(terms.minimum_usd)) - sum((line.amount_usd for line in lines), ZERO)
    if short > 0:
        text = f"{plan}: up to the minimum{partly}"
        lines.append(_line(f"{key}minimum", "api_usage", text, None, short))
    return lines


def _line(
    key: str, kind: LineKind, description: str, quantity: Decimal | None, amount: Decimal
) -> Line:
    rounded = cents(amount)
    if rounded > MAX_LINE_USD:
        raise LimitExceeded(
            f"{description} comes to {rounded:,} USD; a line holds {MAX_LINE_USD:,} at most.",
            code="line_too_large",
        )
    return Line(key=key, kind=kind, description=description, quantity=quantity, amount_usd=rounded)


def _graduated(tiers: Sequence[Tier], paid: Decimal) -> Decimal:
    total, below = ZERO, ZERO
    for tier in tiers:
        end = paid if tier.up_to is None else min(paid, Decimal(tier.up_to))
        if end > below:
            total = _EXACT.add(total, _step(tier, _EXACT.subtract(end, below)))
            below = end
    return total


def _step(tier: Tier, units: Decimal) -> Decimal:
    return _EXACT.add(_EXACT.multiply(units, tier.unit_usd), tier.flat_usd)


def _amount(usage: Usage, meter: Meter) -> Decimal:
    if meter == "cost":
        return usage.cost
    return Decimal(usage.calls if meter == "calls" else usage.tokens)
