"""The HTTP application, put together from its routes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from aegis import __version__
from aegis.api import (
    alerts,
    answers,
    audit,
    backups,
    billing,
    consolidation,
    decisions,
    executions,
    facts,
    graph,
    graphiti,
    health,
    intel,
    jobs,
    keys,
    maintenance,
    memory,
    metrics,
    models,
    research,
    retention,
    security_audit,
    security_columns,
    security_roles,
    sessions,
    usage,
    workflows,
)
from aegis.api.bound import Bound
from aegis.api.door import Door
from aegis.api.errors import Outermost, install
from aegis.api.guard import Guard
from aegis.api.lookup import look_up_routes
from aegis.api.route import Route

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from fastapi.routing import APIRoute
    from starlette.types import ASGIApp

    from aegis.client import Aegis

__all__ = ["create_app", "create_routes"]


def create_app(
    client: Aegis,
    *,
    token: str,
    names: Collection[str] = (),
    mounts: Mapping[str, ASGIApp] | None = None,
) -> Door:
    """Return the application that serves `client`.

    `names` are host names to answer to beside IP addresses and localhost; `mounts` are further
    applications by path, behind the same keys and checks.
    """
    app = _application(_routes())
    app.openapi = functools.cache(lambda: create_routes().openapi())
    app.state.client = client
    guard = Guard(
        Bound(Outermost(app, mounts or {})),
        token=token,
        names=names,
        keys=client.keys,
        usage=client.usage,
        settings=client.settings,
        local={"/metrics"} if client.settings.prometheus_access == "loopback" else (),
    )
    return Door(guard, client.settings)


def create_routes() -> FastAPI:
    """Return the routes without a client: what OpenAPI describes."""
    problem: dict[int | str, Any] = {
        "default": {"model": answers.Problem, "description": "An error (RFC 9457)."}
    }
    return _application(route.described(problem) for route in _routes())


def _application(routes: Iterable[APIRoute]) -> FastAPI:
    app = FastAPI(
        title="Aegis",
        version=__version__,
        summary="The database of an autonomous AI agent.",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    # Not by `include_router`, which makes each of them anew.
    app.router.routes.extend(routes)
    look_up_routes(app)
    return app


def _routes() -> Iterator[Route]:
    # Before `/v1/memory/...` of episodes, which has no part to be mistaken for these.
    for router in (
        facts.router,
        decisions.router,
        retention.router,
        graph.router,
        graphiti.router,
        consolidation.router,
        audit.router,
        models.router,
        keys.router,
        sessions.router,
        usage.router,
        billing.router,
        metrics.router,
        workflows.router,
        executions.router,
        executions.approvals,
        research.router,
        jobs.router,
        intel.router,
        backups.router,
        maintenance.router,
        alerts.router,
        security_audit.router,
        security_roles.router,
        security_columns.router,
        memory.router,
        health.router,
    ):
        for route in router.routes:
            assert isinstance(route, Route)
            yield route
