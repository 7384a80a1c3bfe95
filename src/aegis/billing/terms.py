"""The terms of a plan: read from JSON, checked, written back. Pure.

Every amount is text or a whole number; a float is refused, since it has no exact cents.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.billing.models import METERS, MODELS, Charge, Terms, Tier
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ZERO", "derived_terms", "read_money", "read_terms", "written"]

ZERO: Final = Decimal(0)
MAX_CHARGES: Final = 50
MAX_TIERS: Final = 100
MAX_UNITS: Final = 10**15
#: A price of a unit may be a ten-billionth of a dollar.
UNIT_PLACES: Final = 10
MAX_USD: Final = Decimal(10) ** 8
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_PREVIEW: Final = 60

_TERMS: Final = ("flat_usd", "minimum_usd", "charges")
_CHARGE: Final = (
    *("name", "meter", "model", "endpoints", "included"),
    *("unit_usd", "tiers", "package_size", "package_usd"),
)
_TIER: Final = ("up_to", "unit_usd", "flat_usd")
#: The price that each model needs, and no other.
_PRICES: Final = {
    "per_unit": ("unit_usd",),
    "graduated": ("tiers",),
    "volume": ("tiers",),
    "package": ("package_size", "package_usd"),
}


def read_terms(value: Any) -> Terms:
    """Return the terms that a JSON object says.

    Raises:
        InvalidInput: a field is unknown, missing or cannot be accepted; the line names it.
    """
    fields = _object("terms", value, _TERMS)
    raw = fields.get("charges", [])
    if not isinstance(raw, list):
        raise InvalidInput(f"charges is {_shown(raw)}; it must be a list of charges.")
    items = cast("list[Any]", raw)
    if len(items) > MAX_CHARGES:
        raise InvalidInput(f"charges holds {len(items)}; use {MAX_CHARGES} at most.")
    charges = tuple(_charge(f"charges[{n}]", item) for n, item in enumerate(items))
    names = [charge.name for charge in charges]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"charges names {name!r} twice; each charge needs its own name.")
    terms = Terms(
        flat_usd=read_money("flat_usd", fields.get("flat_usd", "0")),
        minimum_usd=read_money("minimum_usd", fields.get("minimum_usd", "0")),
        charges=charges,
    )
    if not charges and not terms.flat_usd and not terms.minimum_usd and "flat_usd" not in fields:
        raise InvalidInput("The terms hold no price; give flat_usd, minimum_usd or charges.")
    return terms


def written(terms: Terms) -> dict[str, Any]:
    """Return terms as JSON that `read_terms` reads back to the same."""
    return {
        "flat_usd": _text(terms.flat_usd),
        "minimum_usd": _text(terms.minimum_usd),
        "charges": [_written_charge(charge) for charge in terms.charges],
    }


def derived_terms(*, price_usd: Decimal, monthly_quota: int | None, overage_allowed: bool) -> Terms:
    """Return the terms of a tier of keys: its price, and overage at the price of its own calls."""
    charges: tuple[Charge, ...] = ()
    if overage_allowed and monthly_quota and price_usd:
        places = Decimal(1).scaleb(-UNIT_PLACES)
        unit = (price_usd / monthly_quota).quantize(places)
        charges = (
            Charge(
                name="overage", meter="overage", model="per_unit", endpoints=(), included=0,
                unit_usd=unit, tiers=(), package_size=1, package_usd=ZERO,
            ),
        )  # fmt: skip
    return Terms(flat_usd=price_usd, minimum_usd=ZERO, charges=charges)


def read_money(name: str, value: Any, *, places: int = 2, least: Decimal = ZERO) -> Decimal:
    """Return an amount in US dollars of at most `places` decimals (`InvalidInput`)."""
    shape = "dollars and cents, such as 29.00" if places == 2 else "dollars, such as 0.0004"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 <= value <= MAX_USD else ""
    elif isinstance(value, Decimal):
        value = format(value, "f") if value.is_finite() and abs(value.adjusted()) < 20 else ""
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise InvalidInput(f"{name} is {_shown(value)}; write {shape}, as text.")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise InvalidInput(f"{name} is {_shown(value)}; write {shape}, as text.") from None
    exact = amount == amount.quantize(Decimal(1).scaleb(-places))
    if not exact or not least <= amount < MAX_USD:
        raise InvalidInput(
            f"{name} is {_shown(value)}; use {least} to {MAX_USD:,} with {places} decimals at most."
        )
    return amount


def _charge(place: str, value: Any) -> Charge:
    fields = _object(place, value, _CHARGE)
    name = fields.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w .,()+/-]{1,80}", name):
        raise InvalidInput(
            f"{place}.name is {_shown(name)}; use 1 to 80 letters, digits, spaces and .,()+/-."
        )
    meter = _choice(f"{place}.meter", fields.get("meter"), METERS)
    model = _choice(f"{place}.model", fields.get("model", "per_unit"), MODELS)
    for price in ("unit_usd", "tiers", "package_size", "package_usd"):
        if (price in fields) != (price in _PRICES[model]):
            what = "needs" if price in _PRICES[model] else "takes no"
            raise InvalidInput(f"{place} is {model} and {what} {price}.")
    endpoints = _endpoints(place, fields.get("endpoints", []))
    if endpoints and meter == "overage":
        raise InvalidInput(f"{place} counts overage, which is of a key and not of endpoints.")
    return Charge(
        name=name,
        meter=cast("Any", meter),
        model=cast("Any", model),
        endpoints=endpoints,
        included=_whole(f"{place}.included", fields.get("included", 0), least=0),
        unit_usd=_unit(f"{place}.unit_usd", fields.get("unit_usd", "0")),
        tiers=_tiers(place, fields["tiers"]) if "tiers" in fields else (),
        package_size=_whole(f"{place}.package_size", fields.get("package_size", 1), least=1),
        package_usd=read_money(f"{place}.package_usd", fields.get("package_usd", "0")),
    )


def _tiers(place: str, value: Any) -> tuple[Tier, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidInput(f"{place}.tiers is {_shown(value)}; it must be a list of steps.")
    items = cast("list[Any]", value)
    if len(items) > MAX_TIERS:
        raise InvalidInput(f"{place}.tiers holds {len(items)}; use {MAX_TIERS} at most.")
    tiers: list[Tier] = []
    before = 0
    for number, item in enumerate(items):
        here = f"{place}.tiers[{number}]"
        fields = _object(here, item, _TIER)
        last = number == len(items) - 1
        end = fields.get("up_to")
        if (end is None) != last:
            raise InvalidInput(f"{here}.up_to is {_shown(end)}; the last step alone has no end.")
        if end is not None:
            before = _whole(f"{here}.up_to", end, least=before + 1)
        tiers.append(
            Tier(
                up_to=end,
                unit_usd=_unit(f"{here}.unit_usd", fields.get("unit_usd", "0")),
                flat_usd=read_money(f"{here}.flat_usd", fields.get("flat_usd", "0")),
            )
        )
    return tuple(tiers)


def _endpoints(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(cast("list[Any]", value)) > 100:
        raise InvalidInput(f"{place}.endpoints is {_shown(value)}; it must be a list, 100 at most.")
    for item in cast("Sequence[Any]", value):
        if not isinstance(item, str) or not 0 < len(item) <= 200 or "*" in item[:-1]:
            raise InvalidInput(
                f"{place}.endpoints holds {_shown(item)}; write an endpoint, or its beginning and *"
            )
    return tuple(cast("list[str]", value))


def _written_charge(charge: Charge) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": charge.name,
        "meter": charge.meter,
        "model": charge.model,
        "endpoints": list(charge.endpoints),
        "included": charge.included,
    }
    if charge.model == "per_unit":
        found["unit_usd"] = _text(charge.unit_usd)
    elif charge.model == "package":
        found |= {
            "package_size": charge.package_size,
            "package_usd": _text(charge.package_usd),
        }
    else:
        found["tiers"] = [
            {"up_to": t.up_to, "unit_usd": _text(t.unit_usd), "flat_usd": _text(t.flat_usd)}
            for t in charge.tiers
        ]
    return found


def _text(amount: Decimal) -> str:
    return format(amount, "f")


def _unit(name: str, value: Any) -> Decimal:
    return read_money(name, value, places=UNIT_PLACES)


def _whole(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_UNITS:
        raise InvalidInput(
            f"{name} is {_shown(value)}; use a whole number from {least:,} to {MAX_UNITS:,}."
        )
    return value


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise InvalidInput(f"{name} is {_shown(value)}; use one of {', '.join(choices)}.")
    return value


def _object(place: str, value: Any, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{place} is {_shown(value)}; it must be an object.")
    fields = cast("dict[Any, Any]", value)
    for name in fields:
        if name not in known:
            raise InvalidInput(f"{place} holds {_shown(name)}; its fields are {', '.join(known)}.")
    return cast("dict[str, Any]", fields)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
