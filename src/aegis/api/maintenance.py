"""`/v1/maintenance` and `/v1/stats`: what the database needs, what was done, what it looks like."""

from __future__ import annotations

from typing import Any

from aegis.api.route import Router
from aegis.api.state import ClientOf, KnownParameters, answer

__all__ = ["router"]

router = Router(prefix="/v1", tags=["maintenance"], dependencies=[KnownParameters])


@router.get("/maintenance/plan")
async def maintenance_plan(client: ClientOf) -> Any:
    """Return what would be done now, in this order, and how far ahead partitions are."""
    return answer(
        {
            "window": client.settings.maintenance_window,
            "steps": await client.maintenance.plan(),
            "partitioned": await client.maintenance.partitions(),
        }
    )


@router.get("/maintenance/history")
async def maintenance_history(client: ClientOf, limit: int = 50) -> Any:
    """Return what was done, the newest first."""
    return answer({"items": await client.maintenance.history(limit=limit)})


@router.get("/stats/growth")
async def stats_growth(client: ClientOf, days: int = 30) -> Any:
    """Return how the database and what is large in it grow."""
    return answer({"items": await client.stats.growth(days=days)})


@router.get("/stats/statements")
async def stats_statements(client: ClientOf, hours: float = 24.0, limit: int = 50) -> Any:
    """Return what statements took in the last hours, the most time first."""
    return answer({"items": await client.stats.statements(hours=hours, limit=limit)})


@router.get("/stats/regressions")
async def stats_regressions(client: ClientOf, hours: float = 24.0, ratio: float = 2.0) -> Any:
    """Return statements that have become slower."""
    return answer({"items": await client.stats.regressions(hours=hours, ratio=ratio)})


@router.get("/stats/{view}")
async def stats_view(client: ClientOf, view: str, limit: int = 50) -> Any:
    """Return a view of the database as it is now, such as `tables` or `locks`."""
    found = await client.stats.view(view, limit=limit)
    items = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    return answer({"view": found.name, "items": items})
