"""Errors as `application/problem+json` (RFC 9457), from one table of kinds."""

from __future__ import annotations

import http
import json
import logging
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aegis.api.scopes import OPERATOR
from aegis.errors import (
    AegisError,
    ConfigError,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    OpsError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from aegis.request import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["STATUS", "Outermost", "install", "problem", "problem_of", "unexpected"]

#: One status per kind; a subclass's own entry comes before its base's.
STATUS: dict[type[AegisError], int] = {
    InvalidInput: 422,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    Conflict: 409,
    LimitExceeded: 429,
    Unavailable: 503,
    ConfigError: 500,
    OpsError: 503,
    AegisError: 500,
}
_MEDIA_TYPE = "application/problem+json"
_FAILED = "Something failed here; the server's log has it under the id of this request."
_NOT_NOW = "This cannot be done at the moment; the server's log says why. Try again later."
_log = logging.getLogger("aegis.api")


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    kind: str | None = None,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem document; `kind` is the stable name of the kind of error."""
    body: dict[str, Any] = {
        "type": f"urn:aegis:error:{kind or code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if errors:
        body["errors"] = errors
    request_id = REQUEST_ID.get()
    if request_id is not None:
        body["request_id"] = request_id
    return Response(
        json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        status_code=status,
        media_type=_MEDIA_TYPE,
        headers=headers,
    )


def problem_of(error: AegisError, *, inside: bool = False) -> Response:
    """Return the problem document of an error of ours.

    What failed here is told to `inside`, the operator, who can do something about it; everybody
    else gets the id of the request, by which the log has it.
    """
    kind = next(kind for kind in STATUS if isinstance(error, kind))
    status = STATUS[kind]
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="aegis"'
    if status == 503:
        headers["Retry-After"] = "5"
    detail = error.told
    if status >= 500:
        _log.warning("api.failed", extra={"code": error.code, "why": error.message})
        if not inside:
            detail = _FAILED if status == 500 else _NOT_NOW
    return problem(status, error.code, detail, kind=kind.code, headers=headers)


def unexpected() -> Response:
    """Return the answer to what nobody expected."""
    return problem(500, "unexpected", _FAILED)


def install(app: FastAPI) -> None:
    """Let every error leave `app` in this form."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, AegisError)
        return problem_of(error, inside=request.scope.get("aegis.key") is OPERATOR)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _invalid(error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
            return _not_json(error.__cause__)
        code = http.HTTPStatus(error.status_code).name.lower()
        headers = dict(error.headers) if error.headers else None
        detail = str(error.detail)
        if error.status_code == 404:
            detail = "There is nothing at this address; see /openapi.json."
        elif error.status_code == 405 and headers and "Allow" in headers:
            detail = f"This address takes {headers['Allow']}, not {request.method}."
        return problem(error.status_code, code, detail, headers=headers)

    async def other(_: Request, __: Exception) -> Response:
        return unexpected()

    app.add_exception_handler(AegisError, ours)
    # Answered here, raised again by the framework, and logged once at the outermost edge.
    app.add_exception_handler(Exception, other)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http_error)


class Outermost:
    """What is mounted, and the last resort: what nobody expected is logged, and never shown."""

    def __init__(self, app: ASGIApp, mounts: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to what is mounted at its path, or to the application."""
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            place = str(scope.get("path")).rstrip("/")
            app = self._mounts.get(place, self._app)
            if place in self._mounts:
                # What is metered there has no route of ours.
                scope["aegis.endpoint"] = place
            await app(scope, receive, watched)
        except Exception:  # noqa: BLE001
            _log.exception("api.unexpected", extra={"path": scope.get("path")})
            # FastAPI has answered already, or half of an answer is under way.
            if started:
                return
            await unexpected()(scope, receive, watched)


def _invalid(error: RequestValidationError) -> Response:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return _not_json(error)
    errors = [_field(item) for item in found]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:3]) + "."
    return problem(
        STATUS[InvalidInput], InvalidInput.code, detail, kind=InvalidInput.code, errors=errors
    )


def _not_json(cause: Exception) -> Response:
    detail = "The body is not a JSON document."
    if isinstance(cause, UnicodeDecodeError):
        detail = "The body is not UTF-8, as JSON has to be."
    elif isinstance(cause, RecursionError):
        detail = "The body is nested too deeply; flatten it."
    return problem(400, "json_invalid", detail, kind=InvalidInput.code)


def _field(item: Any) -> dict[str, str]:
    # The first part says where: body, query or path.
    place = [str(part) for part in item["loc"][1:]] or [str(item["loc"][0])]
    message = str(item["msg"])
    if item["type"] == "extra_forbidden":
        message = "this field is not known"
    return {"field": ".".join(place), "message": message[:1].lower() + message[1:]}
