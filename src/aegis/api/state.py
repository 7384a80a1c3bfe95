"""What the routes work with: the open client, and how it is handed to them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from aegis.billing import Billing
from aegis.client import Aegis
from aegis.errors import InvalidInput
from aegis.keys import Keys
from aegis.memory import Memory
from aegis.sessions.service import Sessions
from aegis.wire.plain import plain

__all__ = [
    "BillingOf",
    "ClientOf",
    "KeysOf",
    "KnownParameters",
    "MemoryOf",
    "SessionsOf",
    "answer",
]


# `async`, although nothing is waited for: anything else is run in a thread, which costs a request
# more than all that is done there.
async def _client(request: Request) -> Aegis:
    client = request.app.state.client
    assert isinstance(client, Aegis)
    return client


async def _memory(request: Request) -> Memory:
    return (await _client(request)).memory


async def _keys(request: Request) -> Keys:
    return (await _client(request)).keys


async def _sessions(request: Request) -> Sessions:
    return (await _client(request)).sessions


async def _billing(request: Request) -> Billing:
    return (await _client(request)).billing


async def _known_parameters(request: Request) -> None:
    route = request.scope.get("route")
    assert isinstance(route, APIRoute)
    known = [field.alias for field in route.dependant.query_params]
    for name in request.query_params:
        if name not in known:
            # A misspelt filter that is ignored answers another question.
            allowed = f"use {', '.join(known)}" if known else "this route takes none"
            raise InvalidInput(f"{name[:60]!r} is no query parameter here; {allowed}.")


#: Refuses query parameters that the route does not know; a dependency of whole routers.
KnownParameters = Depends(_known_parameters)
ClientOf = Annotated[Aegis, Depends(_client)]
MemoryOf = Annotated[Memory, Depends(_memory)]
KeysOf = Annotated[Keys, Depends(_keys)]
SessionsOf = Annotated[Sessions, Depends(_sessions)]
BillingOf = Annotated[Billing, Depends(_billing)]


def answer(value: Any, status: int = 200) -> Response:
    """Return `value` in its JSON form."""
    import json

    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status_code=status, media_type="application/json")
