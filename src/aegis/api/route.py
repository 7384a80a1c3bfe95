"""Routes that hold what a request needs; what OpenAPI says of their answers is made when asked for.

The answers are written as they are (`state.answer`), without a model of them: FastAPI would build
one for each answer and for each error, and each route anew for every router that takes it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, params
from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Route", "Router"]


class Route(APIRoute):
    """A route without a model of its answer."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        self._given = given
        without: dict[str, Any] = {**given, "response_model": None, "responses": None}
        super().__init__(path, endpoint, **without)

    def described(self, responses: Mapping[int | str, Any]) -> APIRoute:
        """Return the same route as OpenAPI describes it, with `responses` that all routes have."""
        given: dict[str, Any] = dict(self._given)
        given["responses"] = {**responses, **(given["responses"] or {})}
        return APIRoute(self.path, self.endpoint, **given)


class Router(APIRouter):
    """A router of such routes."""

    def __init__(
        self,
        *,
        prefix: str = "",
        tags: list[str] | None = None,
        dependencies: Sequence[params.Depends] | None = None,
    ) -> None:
        super().__init__(
            prefix=prefix, tags=[*(tags or ())], dependencies=dependencies, route_class=Route
        )
