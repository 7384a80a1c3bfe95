"""What the faces of usage share: months as people write them."""

from __future__ import annotations

import re
from datetime import date

from aegis.errors import InvalidInput

__all__ = ["parse_month"]


def parse_month(text: str | None) -> date | None:
    """Return the first day of a month such as 2026-05 (`InvalidInput`)."""
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{3}-(0[1-9]|1[0-2])", text):
        raise InvalidInput(f"month is {text[:40]!r}; write one such as 2026-05.")
    return date.fromisoformat(f"{text}-01")
