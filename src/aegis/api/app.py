"""The HTTP application, put together from its routes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from aegis import __version__
from aegis.api import answers, decisions, facts, health, memory
from aegis.api.errors import install, problem
from aegis.api.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from aegis.client import Aegis

__all__ = ["create_app"]

_log = logging.getLogger("aegis.api")


def create_app(
    client: Aegis,
    *,
    token: str,
    names: Collection[str] = (),
    mounts: Mapping[str, ASGIApp] | None = None,
) -> ASGIApp:
    """Return the application that serves `client`.

    `names` are host names to answer to beside IP addresses and localhost; `mounts` are further
    applications by path, behind the same token and checks.
    """
    app = FastAPI(
        title="Aegis",
        version=__version__,
        summary="The database of an autonomous AI agent.",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": answers.Problem, "description": "An error (RFC 9457)."}},
    )
    app.state.client = client
    install(app)
    # Before `/v1/memory/...` of episodes, which has no part to be mistaken for these.
    for routes in (facts.router, decisions.router, memory.router, health.router):
        app.include_router(routes)
    return Guard(_Outermost(app, mounts or {}), token=token, names=names)


class _Outermost:
    """What is mounted, and the last resort: what nobody expected is logged, and never shown."""

    def __init__(self, app: ASGIApp, mounts: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            app = self._mounts.get(str(scope.get("path")).rstrip("/"), self._app)
            await app(scope, receive, watched)
        except Exception:
            _log.exception("api.unexpected", extra={"path": scope.get("path")})
            # FastAPI has answered already, or half of an answer is under way.
            if started:
                return
            response = problem(500, "unexpected", "Something unexpected happened; see the log.")
            await response(scope, receive, watched)
