"""What the routes work with: the open client, and how it is handed to them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response

from aegis.client import Aegis
from aegis.memory import Memory
from aegis.wire.plain import plain

__all__ = ["ClientOf", "MemoryOf", "answer"]


def _client(request: Request) -> Aegis:
    client = request.app.state.client
    assert isinstance(client, Aegis)
    return client


def _memory(request: Request) -> Memory:
    return _client(request).memory


ClientOf = Annotated[Aegis, Depends(_client)]
MemoryOf = Annotated[Memory, Depends(_memory)]


def answer(value: Any, status: int = 200) -> Response:
    """Return `value` in its JSON form."""
    import json

    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status_code=status, media_type="application/json")
