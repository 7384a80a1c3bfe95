"""A dependency of FastAPI that lets nobody into a route without a key.

from aegis.keys.fastapi import KeyGuard

guard = KeyGuard(app, aegis.connect())

@app.get("/reports")
async def reports(key: Verification = Depends(guard.require("reports:read"))): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response

from aegis.keys.gate import Gate, Opening
from aegis.keys.headers import Refusal
from aegis.keys.models import Limit, Verification
from aegis.keys.service import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

__all__ = ["KeyGuard"]


class _Refused(Exception):
    """Ends a route; the handler that `KeyGuard` installs answers it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status)
        self.refusal = refusal


class KeyGuard:
    """Keys for the routes of one application; `keys` is `client.keys` or `aegis.connect()`.

    `close` closes a client that was opened here; an application's lifespan is the place for it.
    """

    def __init__(self, app: FastAPI, keys: Keys | Opening) -> None:
        self._gate = Gate(keys)
        app.add_exception_handler(_Refused, _answer)

    def require(
        self,
        scope: str | None = None,
        *,
        cost: int = 1,
        limits: Sequence[Limit | Mapping[str, Any]] = (),
    ) -> Callable[[Request, Response], Coroutine[Any, Any, Verification]]:
        """Return a dependency that hands the route its key, or refuses the call."""

        async def key(request: Request, response: Response) -> Verification:
            found = await self._gate.check(
                request.scope["headers"], scope=scope, cost=cost, limits=limits
            )
            if isinstance(found, Refusal):
                raise _Refused(found)
            request.scope["aegis.key"] = found
            for name, value in self._gate.headers(found):
                response.headers[name] = value
            return found

        return key

    async def close(self) -> None:
        """Close the client, if one was opened here."""
        await self._gate.close()


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Refused)
    refusal = error.refusal
    return Response(refusal.body, status_code=refusal.status, headers=dict(refusal.headers))
