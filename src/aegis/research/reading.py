"""Fields of a stranger's JSON, of the type that is expected or absent. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

__all__ = ["amount", "items", "mapping", "money", "text", "texts"]

_MOST = 10**12


def mapping(value: Any) -> dict[str, Any]:
    """Return an object, an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    found = cast("list[Any]", value) if isinstance(value, list) else []
    return [mapping(item) for item in found if isinstance(item, dict)]


def text(value: Any) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


def amount(value: Any) -> int:
    """Return a count, 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return 0
    number = int(value) if value == value and abs(value) < _MOST else 0
    return max(number, 0)


def money(value: Any) -> Decimal | None:
    """Return US dollars exactly as they were written."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        usd = Decimal(value)
    except ArithmeticError:
        return None
    return usd if usd.is_finite() and 0 <= usd < 1_000_000 else None


def texts(value: Any) -> list[str]:
    """Return the texts of a list."""
    found = cast("list[Any]", value) if isinstance(value, list) else []
    return [item for item in found if isinstance(item, str)]
