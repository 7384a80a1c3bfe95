"""Which route a request is for, looked up by its path instead of asked of every route in turn.

FastAPI asks one route after the other: with some 250 routes that is most of what it does for a
request. Here a path without places is one look into a table; any other is compared with the few
templates of its method, of its length and of its second word (`/v1/jobs/…`).

Invariant: a route that is found here is the one that FastAPI's own router would find. Whatever is
not found (404, 405, a path with a root, a route that was added later, a router that was included)
goes to that router, which answers as ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

__all__ = ["Routes", "look_up_routes"]

_PLACE: Final = re.compile(r"\{\w+\}")


class Routes:
    """ASGI application in the place of a router's own; made by `look_up_routes`."""

    def __init__(self, app: FastAPI) -> None:
        self._router = app.router
        #: What answers where nothing is found here.
        self._otherwise = app.router.middleware_stack
        self._exact: dict[tuple[str, str], APIRoute] = {}
        self._templates: dict[tuple[str, int, str], list[APIRoute]] = {}
        self._build(_routes_of(app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the route that is found, else with what the router finds."""
        found = self._find(scope)
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        route, places = found
        scope["router"] = self._router
        scope["route"] = route
        scope["endpoint"] = route.endpoint
        scope["path_params"] = places
        await route.app(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[APIRoute, dict[str, str]] | None:
        # What is traced is told which route it was by the router alone.
        if scope["type"] != "http" or scope.get("root_path") or "fastapi.telemetry" in scope:
            return None
        method: str = scope["method"]
        path: str = scope["path"]
        if path.endswith("\n"):
            # The end of a pattern fits before it, too.
            return None
        route = self._exact.get((method, path))
        if route is not None:
            return route, {}
        for route in self._templates.get(_place_of(method, path), ()):
            match = route.path_regex.match(path)
            if match is not None:
                return route, match.groupdict()
        return None

    def _build(self, routes: Sequence[APIRoute]) -> None:
        before: dict[str, list[re.Pattern[str]]] = {}
        for route in routes:
            for method in route.methods or ():
                earlier = before.setdefault(method, [])
                if route.param_convertors:
                    place = _place_of(method, route.path_format)
                    self._templates.setdefault(place, []).append(route)
                elif not any(pattern.match(route.path_format) for pattern in earlier):
                    self._exact[method, route.path_format] = route
                earlier.append(route.path_regex)


def look_up_routes(app: FastAPI) -> None:
    """Let `app` find its routes by their paths; call it once all of them are there."""
    app.router.middleware_stack = Routes(app)


def _routes_of(app: FastAPI) -> Sequence[APIRoute]:
    """Return the routes in the order in which they are asked, up to one that cannot be looked up.

    Such a one, a mount for instance, may take what a later one would: those are left to the router.
    """
    found: list[APIRoute] = []
    for route in app.routes:
        if isinstance(route, APIRoute):
            if not _is_simple(route):
                break
            found.append(route)
        elif getattr(route, "path_format", None) != app.openapi_url:
            break
    return found


def _is_simple(route: APIRoute) -> bool:
    """Tell whether each place of a route is one whole word, and its second word is none."""
    words = route.path_format.split("/")
    return all(type(c) is StringConvertor for c in route.param_convertors.values()) and all(
        "{" not in word or (number > 2 and _PLACE.fullmatch(word))
        for number, word in enumerate(words)
    )


def _place_of(method: str, path: str) -> tuple[str, int, str]:
    words = path.split("/", 3)
    return method, path.count("/"), words[2] if len(words) > 2 else ""
