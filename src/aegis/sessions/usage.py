"""Tokens out of transcript lines. Pure.

An answer is written over several lines, each with the whole message's usage: who adds lines up
counts two to four times what was used. A message counts once, by `message.id`; where a line says
more output than another of its message, the most is right, for earlier ones hold a placeholder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.fields import clean, text_of
from aegis.sessions.models import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["merge", "message_of"]

#: More tokens than a message can have are a mistake, or an attack on the bill.
_MAX_TOKENS = 1_000_000_000
_MAX_KEY = 200


def message_of(line: Mapping[str, Any]) -> Message | None:
    """Return what a line says of its message's usage, None where it says nothing that counts."""
    message: Any = line.get("message")
    if line.get("type") != "assistant" or not isinstance(message, dict):
        return None
    said = cast("dict[str, Any]", message)
    usage: Any = said.get("usage")
    model = text_of(said.get("model"))
    made_up = model == "<synthetic>" or line.get("isApiErrorMessage") is True
    if made_up or not isinstance(usage, dict) or not model:
        return None
    key = text_of(said.get("id")) or text_of(line.get("requestId")) or text_of(line.get("uuid"))
    try:
        at = validate.parse_time("timestamp", text_of(line.get("timestamp")))
    except InvalidInput:
        return None
    if not key:
        return None
    tokens = cast("dict[str, Any]", usage)
    short, long = _cache_writes(tokens)
    return Message(
        key=clean(key)[:_MAX_KEY],
        at=at,
        model=clean(model)[:_MAX_KEY],
        input_tokens=_count(tokens, "input_tokens"),
        output_tokens=_count(tokens, "output_tokens"),
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        cache_read_tokens=_count(tokens, "cache_read_input_tokens"),
    )


def merge(known: Message | None, line: Message) -> Message:
    """Return what two lines of one message say together."""
    if known is None:
        return line
    counts = {
        name: max(getattr(known, name), getattr(line, name))
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "cache_read_tokens",
        )
    }
    return Message(key=known.key, at=min(known.at, line.at), model=known.model, **counts)


def _cache_writes(tokens: Mapping[str, Any]) -> tuple[int, int]:
    """Return tokens cached for five minutes and for an hour."""
    total = _count(tokens, "cache_creation_input_tokens")
    split: Any = tokens.get("cache_creation")
    if not isinstance(split, dict):
        return total, 0
    parts = cast("dict[str, Any]", split)
    long = _count(parts, "ephemeral_1h_input_tokens")
    short = _count(parts, "ephemeral_5m_input_tokens")
    # An older line has the total alone: that was for five minutes.
    return max(short, total - long), long


def _count(tokens: Mapping[str, Any], name: str) -> int:
    value: Any = tokens.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= _MAX_TOKENS else 0
