"""What the faces of usage share: cursors of events, and months as people write them."""

from __future__ import annotations

import base64
import json
import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.usage import EventRecord

__all__ = ["before_event", "next_event", "parse_month"]


def next_event(rows: Sequence[EventRecord], limit: int) -> str | None:
    """Return the cursor behind the last of `rows`, None on the last page."""
    if len(rows) < limit:
        return None
    place = json.dumps([rows[-1].created_at.isoformat(), rows[-1].id])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def before_event(cursor: str | None) -> tuple[datetime, int] | None:
    """Return the time and number that a cursor of `next_event` holds (`InvalidInput`)."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        at, number = json.loads(base64.urlsafe_b64decode(padded))
        when = datetime.fromisoformat(at)
        if when.utcoffset() is None or type(number) is not int or not 0 <= number < 2**63:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise InvalidInput(
            f"cursor is {cursor[:40]!r}; use the next_cursor of the page before, unchanged.",
            code="cursor_invalid",
        ) from None
    return when, number


def parse_month(text: str | None) -> date | None:
    """Return the first day of a month such as 2026-05 (`InvalidInput`)."""
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{3}-(0[1-9]|1[0-2])", text):
        raise InvalidInput(f"month is {text[:40]!r}; write one such as 2026-05.")
    return date.fromisoformat(f"{text}-01")
