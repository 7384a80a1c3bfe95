"""How large and how deep what an execution carries may be, and that PostgreSQL can keep it.

What one step returns is written once; what an execution carries is read by each worker that takes
it over. Large things belong in a table or a file, and their name into the result.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput, LimitExceeded

if TYPE_CHECKING:
    from aegis.workflows.models import JSON

__all__ = [
    "MOST_CONTEXT_BYTES",
    "MOST_RESULT_BYTES",
    "encode",
    "shorten",
]

#: Of one result, input or signal.
MOST_RESULT_BYTES: Final = 256 << 10
#: Of all results in a context together.
MOST_CONTEXT_BYTES: Final = 4 << 20
_MOST_DEPTH: Final = 64
_MOST_ERROR_CHARS: Final = 4_000
#: A zero character, written with an odd number of backslashes.
_ZERO: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def encode(value: JSON, what: str, *, most: int = MOST_RESULT_BYTES) -> str:
    """Return `value` as JSON text that a JSONB column takes.

    Raises:
        InvalidInput: JSON or PostgreSQL cannot say it.
        LimitExceeded: it has more than `most` bytes.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{what} is not JSON ({shorten(str(error), 200)}); use objects with text keys, lists, "
            "text, finite numbers, true, false and null.",
            code="not_json",
        ) from None
    if size > most:
        raise LimitExceeded(
            f"{what} has {size:,} bytes, {most:,} are kept; store it elsewhere and pass its name.",
            code="payload_too_large",
        )
    if "\\u0000" in text and _ZERO.search(text):
        raise InvalidInput(
            f"{what} holds a zero character, which PostgreSQL does not keep; remove it.",
            code="not_json",
        )
    if text.count("[") + text.count("{") > _MOST_DEPTH and _depth(value) > _MOST_DEPTH:
        raise InvalidInput(
            f"{what} is more than {_MOST_DEPTH} levels deep; make it flatter.", code="not_json"
        )
    return text


def shorten(text: str, most: int = _MOST_ERROR_CHARS) -> str:
    """Return text that PostgreSQL keeps, its end cut off where it is long."""
    clean = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _depth(value: JSON) -> int:
    deepest = 0
    open_: list[tuple[Any, int]] = [(value, 1)]
    while open_:
        found, depth = open_.pop()
        if isinstance(found, dict):
            inner: list[Any] = [*cast("dict[str, Any]", found).values()]
        elif isinstance(found, list | tuple):
            inner = [*cast("list[Any]", found)]
        else:
            continue
        deepest = max(deepest, depth)
        open_.extend((part, depth + 1) for part in inner)
    return deepest
