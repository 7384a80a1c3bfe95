"""What questions to the audit log may hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from aegis.errors import InvalidInput
from aegis.security.audit.actions import ACTIONS

__all__ = [
    "check_action",
    "check_page",
    "check_past",
    "check_seq",
    "check_text",
    "check_time",
    "read_object",
]

_MOST_LIMIT: Final = 1_000
_MOST_CHARS: Final = 300
_MOST_SEQ: Final = 2**63 - 1


def check_page(limit: Any, before: Any) -> None:
    """Refuse a page that cannot be (`InvalidInput`)."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MOST_LIMIT:
        raise InvalidInput(f"limit is {limit!r}; use 1 to {_MOST_LIMIT:,}.")
    if before is not None:
        check_seq(before, "before")


def check_seq(value: Any, name: str = "seq") -> None:
    """Refuse what numbers no row (`InvalidInput`)."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_SEQ:
        raise InvalidInput(f"{name} is {value!r}; use the number of a row, 1 or more.")


def check_action(value: Any) -> None:
    """Refuse an action, or an area, that there is none of (`InvalidInput`)."""
    if value is None or value in ACTIONS:
        return
    areas = sorted({f"{action.partition('.')[0]}.*" for action in ACTIONS})
    if value in areas:
        return
    raise InvalidInput(
        f"action is {str(value)[:100]!r}, which is not logged; use an area ({', '.join(areas)}) or "
        "an id of docs/howto/audit-log.md.",
        code="audit_action_unknown",
    )


def check_text(name: str, value: Any) -> str | None:
    """Return a short text (`InvalidInput`)."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_CHARS or "\0" in value:
        raise InvalidInput(f"{name} is no text of 1 to {_MOST_CHARS} characters.")
    return value


def read_object(value: Any) -> tuple[str | None, str | None]:
    """Return kind and id of `KIND` or `KIND:ID` (`InvalidInput`)."""
    text = check_text("object", value)
    if text is None:
        return None, None
    kind, colon, rest = text.partition(":")
    if not kind or (colon and not rest):
        raise InvalidInput(f"object is {text[:100]!r}; use a kind such as key, or key:ID.")
    return kind, rest or None


def check_time(name: str, value: Any) -> datetime | None:
    """Return a time with a zone (`InvalidInput`)."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(f"{name} is {value!r}; use a time with its zone.")
    return value


def check_past(value: Any) -> datetime:
    """Return a time that is over (`InvalidInput`)."""
    found = check_time("before", value)
    if found is None or found > datetime.now(UTC):
        raise InvalidInput(f"before is {value!r}; use a time in the past.")
    return found
