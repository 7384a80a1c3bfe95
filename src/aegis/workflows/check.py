"""What people may say to executions."""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput
from aegis.workflows.payload import encode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aegis.workflows.models import JSON

__all__ = ["check_id", "check_input", "check_line", "check_number", "check_time"]

_MOST_CHARS: Final = 200


def check_id(id: str) -> str:
    """Return the id of an execution as the database writes it (`InvalidInput`)."""
    try:
        return str(uuid.UUID(id))
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{id!r} is no id of an execution; it is a UUID.") from None


def check_line(value: str, what: str) -> str:
    """Return a name or key: 1 to 200 printable characters (`InvalidInput`)."""
    if not value or len(value) > _MOST_CHARS or not value.isprintable() or value.strip() != value:
        raise InvalidInput(
            f"{what} is {value[:80]!r}; use 1 to {_MOST_CHARS} printable characters, no blank ends."
        )
    return value


def check_number(value: int, what: str, low: int, high: int) -> int:
    """Return a number within bounds (`InvalidInput`)."""
    if not low <= value <= high:
        raise InvalidInput(f"{what} is {value}; it is {low:,} to {high:,}.")
    return value


def check_time(value: datetime | None, what: str) -> datetime | None:
    """Return a time with its offset (`InvalidInput`)."""
    if value is not None and value.tzinfo is None:
        raise InvalidInput(f"{what} is {value.isoformat()}, without an offset; add one.")
    return value.astimezone(UTC) if value is not None else None


def check_input(value: Mapping[str, JSON] | None, what: str = "input") -> dict[str, JSON]:
    """Return an object that may be kept (`InvalidInput`, `LimitExceeded`)."""
    given: Any = {} if value is None else value
    if not isinstance(given, dict):
        raise InvalidInput(f"{what} is {type(given).__name__}; give an object.")
    encode(given, f"The {what}")
    return cast("dict[str, JSON]", given)
