"""Values out of other programs' JSON: times, texts, keys."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["clean", "content_key", "describe", "members", "read_time", "text_of"]

#: Beyond this a number is milliseconds: as seconds it would be the year 5138.
_MILLISECONDS = 1e11


def read_time(fields: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time: ISO 8601 with a zone, or seconds or milliseconds since 1970."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return validate.parse_time(name, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(
                value / 1000 if abs(value) >= _MILLISECONDS else value, UTC
            )
        except (ValueError, OverflowError, OSError):
            raise InvalidInput(f"{name} is {value!r:.60}, which is no time") from None
    raise InvalidInput(f"{name} is {value!r:.60}; write a time such as 2026-05-01T09:00:00+00:00")


def text_of(value: Any) -> str:
    """Return a text as it is, and an empty one for anything else."""
    return value if isinstance(value, str) else ""


def members(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, and none of anything else."""
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", v) for v in cast("list[Any]", value) if isinstance(v, dict)]


def describe(value: Any) -> str:
    """Return a value for a message: a list or an object, which may be endless, by its kind."""
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"{value!r:.60}"


def clean(text: str) -> str:
    """Return text that PostgreSQL stores: terminals' output holds NULs and half surrogates."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def content_key(prefix: str, fields: Mapping[str, Any]) -> str:
    """Return a key made of an item's content, for one that has none of its own."""
    try:
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise InvalidInput("it is nested too deeply") from None
    return f"{prefix}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
