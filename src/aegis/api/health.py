"""`/healthz`, `/readyz` and the server's own figures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from aegis.api.state import ClientOf, answer
from aegis.db.revision import require_current, schema_state

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Any:
    """Say that the process is alive."""
    return answer({"status": "ok"})


@router.get("/readyz")
async def readyz(client: ClientOf) -> Any:
    """Say that the database answers and its schema fits; 503 with the reason otherwise."""
    async with client.db.transaction() as conn:
        status = await schema_state(conn)
    require_current(status)
    return answer({"status": "ok", "schema": status.revision})


@router.get("/v1/status")
async def server_status(client: ClientOf) -> Any:
    """Return the figures of the pool of connections."""
    return answer({"pool": client.db.figures()})
