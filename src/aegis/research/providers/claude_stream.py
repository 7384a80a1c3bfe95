"""A message of the Messages API put together from its server-sent events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from aegis.research.providers.events import lines
from aegis.research.reading import mapping, text
from aegis.research.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["read_stream"]


async def read_stream(chunks: AsyncIterator[bytes]) -> dict[str, Any]:
    """Return the message that a stream told to its end.

    Raises:
        Trouble: it broke off or told an error; `uncertain` once the message had begun.
    """
    message = _Message()
    async for line in lines(chunks, "Claude"):
        if line.startswith(b"data:"):
            message.take(_event(line[5:].strip(), message))
            if message.done:
                return message.document
    raise Trouble("Claude's stream was cut before its end.", uncertain=True)


class _Message:
    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.done = False
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}

    def take(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "error":
            error = mapping(event.get("error"))
            why = str(error.get("message") or error.get("type") or "unknown")[:200]
            # Before its first event nothing was taken on.
            raise Trouble(f"Claude's stream told an error: {why}.", uncertain=bool(self.document))
        if kind == "message_start":
            self.document = dict(mapping(event.get("message")))
        elif kind == "content_block_start":
            at = self._index(event)
            self._blocks[at] = dict(mapping(event.get("content_block")))
        elif kind == "content_block_delta":
            self._add(self._index(event), mapping(event.get("delta")))
        elif kind == "content_block_stop":
            self._close(self._index(event))
        elif kind == "message_delta":
            self.document |= mapping(event.get("delta"))
            usage = mapping(event.get("usage"))
            self.document["usage"] = {**mapping(self.document.get("usage")), **usage}
        elif kind == "message_stop":
            self.document["content"] = [self._blocks[at] for at in sorted(self._blocks)]
            self.done = True

    def _add(self, at: int, delta: dict[str, Any]) -> None:
        block = self._blocks.setdefault(at, {"type": "text", "text": ""})
        kind = delta.get("type")
        if kind == "text_delta":
            block["text"] = (text(block.get("text")) or "") + (text(delta.get("text")) or "")
        elif kind == "input_json_delta":
            more = text(delta.get("partial_json")) or ""
            self._inputs[at] = self._inputs.get(at, "") + more
        elif kind == "citations_delta":
            known: Any = block.get("citations")
            block["citations"] = [*(known if isinstance(known, list) else []), delta["citation"]]
        elif kind == "thinking_delta":
            more = text(delta.get("thinking")) or ""
            block["thinking"] = (text(block.get("thinking")) or "") + more
        elif kind == "signature_delta":
            block["signature"] = delta.get("signature")

    def _close(self, at: int) -> None:
        raw = self._inputs.pop(at, "")
        if raw:
            try:
                self._blocks[at]["input"] = json.loads(raw)
            except (ValueError, RecursionError, KeyError):
                raise _malformed() from None

    def _index(self, event: dict[str, Any]) -> int:
        at = event.get("index")
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < 10_000:
            raise _malformed()
        return at


def _event(data: bytes, message: _Message) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Trouble("Claude's stream is malformed.", uncertain=True)
    event = cast("dict[str, Any]", value)
    if event.get("type") == "content_block_delta" and not message.document:
        raise _malformed()
    return event


def _malformed() -> Trouble:
    return Trouble("Claude's stream is malformed.", uncertain=True)
