"""Which request is being answered: its id, for log lines, answers and records of what was done.

A face sets it for as long as it answers; whatever runs in that context reads it. Elsewhere, such
as in commands and in loops beside the requests, there is none.
"""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from typing import Final

__all__ = ["REQUEST_ID", "new_request_id", "safe_request_id"]

#: The id of the request that this context answers, None outside of one.
REQUEST_ID: ContextVar[str | None] = ContextVar("aegis_request_id", default=None)

#: What may stand in a log line and in a header without being mistaken for anything else.
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


def new_request_id() -> str:
    """Return 32 characters that no other request has."""
    return uuid.uuid4().hex


def safe_request_id(given: str) -> str | None:
    """Return the id that a caller sent, None where it has not 8 to 64 harmless characters."""
    return given if _SAFE.fullmatch(given) else None
