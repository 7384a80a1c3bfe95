"""`/healthz`, `/readyz`, the server's own figures, checks of the database, and `/metrics`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from aegis.api.route import Router
from aegis.api.shapes import Answer
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.db.revision import require_current, schema_state

__all__ = ["router"]

router = Router(tags=["health"])


class CheckFinding(Answer):
    """One thing that is not well; `key` is what AEGIS_HEALTH_MUTE takes."""

    object: str
    state: str
    observed: str
    value: float | None
    fix: str | None
    key: str


class CheckResult(Answer):
    """What one check came to, what it means and what to do."""

    id: str
    group: str
    title: str
    state: str
    observed: str
    value: float | None
    threshold: str
    means: str
    advice: str
    docs: str
    findings: list[CheckFinding]
    hidden: int
    muted: int
    elapsed_ms: float


class HealthReport(Answer):
    """All checks, and how many are in which state; as bad as the worst of them."""

    checked_at: datetime
    state: str
    results: list[CheckResult]
    ok: int
    unknown: int
    warning: int
    critical: int
    elapsed_ms: float


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


@router.get("/v1/health", dependencies=[KnownParameters])
async def health_summary(client: ClientOf) -> Any:
    """Return how the database is, and what is not well; at most half a minute old."""
    report = await client.health.recent()
    return answer(
        {
            "state": report.state,
            "checked_at": report.checked_at,
            "ok": report.ok,
            "unknown": report.unknown,
            "warning": report.warning,
            "critical": report.critical,
            "not_ok": {r.id: r.state for r in report.results if r.state != "ok"},
        }
    )


@router.get("/v1/health/checks", response_model=HealthReport, dependencies=[KnownParameters])
async def health_checks(
    client: ClientOf,
    only: Annotated[list[str] | None, Query(description="Ids of checks, or groups.")] = None,
) -> Any:
    """Run the checks now and return what each came to."""
    return answer(await client.health.check(only=only))


@router.get("/metrics", include_in_schema=False)
async def prometheus(client: ClientOf) -> Response:
    """Return figures in Prometheus' text format."""
    from aegis.ops.health.exporting import expose
    from aegis.ops.health.exposition import CONTENT_TYPE

    text = await expose(client.db, client.health, now=datetime.now(UTC))
    return Response(text, media_type=CONTENT_TYPE)
