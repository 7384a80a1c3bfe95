"""Which route a request is for, looked up by its path instead of asked of every route in turn.

FastAPI asks one route after the other, and of routers that were included each a second time: with
some 250 routes that is most of what it does for a request. Here a path without places is one look
into a table; any other is compared with the few templates of its method, of its length and of its
second word (`/v1/jobs/…`).

Invariant: a route that is found here is the one that FastAPI's own router would find. Whatever is
not found (404, 405, a path with a root, a route that was added later) goes to that router, which
answers as ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastapi import routing
from starlette.convertors import StringConvertor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Routes", "look_up_routes"]

_PLACE: Final = re.compile(r"\{\w+\}")


class _Route(NamedTuple):
    """What answers, and what the request is told about it."""

    app: ASGIApp
    endpoint: Any
    #: The route as its router has it: what `scope["route"]` is.
    original: Any
    pattern: re.Pattern[str]


class Routes:
    """ASGI application in the place of a router's own; made by `look_up_routes`."""

    def __init__(self, app: FastAPI) -> None:
        self._application = app
        self._router = app.router
        #: What answers where nothing is found here.
        self._otherwise = app.router.middleware_stack
        self._exact: dict[tuple[str, str], _Route] | None = None
        self._templates: dict[tuple[str, int, str], list[_Route]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the route that is found, else with what the router finds."""
        found = self._find(scope)
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        route, places = found
        scope["router"] = self._router
        scope["route"] = route.original
        scope["endpoint"] = route.endpoint
        scope["path_params"] = places
        await route.app(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[_Route, dict[str, str]] | None:
        # What is traced is told which route it was by the router alone.
        if scope["type"] != "http" or scope.get("root_path") or "fastapi.telemetry" in scope:
            return None
        if self._exact is None:
            # Not before the first request: a start shall not wait for it.
            self._exact = self._build(_routes_of(self._application))
        method: str = scope["method"]
        path: str = scope["path"]
        if path.endswith("\n"):
            # The end of a pattern fits before it, too.
            return None
        route = self._exact.get((method, path))
        if route is not None:
            return route, {}
        for route in self._templates.get(_place_of(method, path), ()):
            match = route.pattern.match(path)
            if match is not None:
                return route, match.groupdict()
        return None

    def _build(self, routes: Sequence[Any]) -> dict[tuple[str, str], _Route]:
        exact: dict[tuple[str, str], _Route] = {}
        before: dict[str, list[re.Pattern[str]]] = {}
        for one in routes:
            route = _Route(one.app, one.endpoint, one.original_route, one.path_regex)
            for method in one.methods:
                earlier = before.setdefault(method, [])
                if one.param_convertors:
                    self._templates.setdefault(_place_of(method, one.path_format), []).append(route)
                elif not any(pattern.match(one.path_format) for pattern in earlier):
                    exact[method, one.path_format] = route
                earlier.append(route.pattern)
        return exact


def look_up_routes(app: FastAPI) -> None:
    """Let `app` find its routes by their paths; call it once all of them are there."""
    # Older FastAPI does not tell what it made of routers that were included.
    if hasattr(routing, "iter_route_contexts"):
        app.router.middleware_stack = Routes(app)


def _routes_of(app: FastAPI) -> Sequence[Any]:
    """Return the routes in the order in which they are asked, up to one that cannot be looked up.

    Such a one, a mount for instance, may take what a later one would: those are left to the router.
    """
    found: list[Any] = []
    for one in routing.iter_route_contexts(app.routes):
        if isinstance(one.original_route, routing.APIRoute):
            if not _is_simple(one):
                break
            found.append(one)
        elif getattr(one.original_route, "path_format", None) != app.openapi_url:
            break
    return found


def _is_simple(route: Any) -> bool:
    """Tell whether each place of a route is one whole word, and its second word is none."""
    words = route.path_format.split("/")
    return all(type(c) is StringConvertor for c in route.param_convertors.values()) and all(
        "{" not in word or (number > 2 and _PLACE.fullmatch(word))
        for number, word in enumerate(words)
    )


def _place_of(method: str, path: str) -> tuple[str, int, str]:
    words = path.split("/", 3)
    return method, path.count("/"), words[2] if len(words) > 2 else ""
