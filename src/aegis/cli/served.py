"""Ask the process that serves this very data folder, where there is one.

It has everything loaded that a command would have to load. What it answers is what the direct way
would have answered; where it does not answer, the command goes the direct way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aegis import errors
from aegis.wire.presence import find_presence, fingerprint, trusting
from aegis.wire.token import find_token

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["ask"]

#: Longer than a statement may take there.
_TIMEOUT_S = 60.0
#: What says that the two do not know each other, rather than what the question deserves.
_STRANGERS = (401, 404, 421)
#: What says that it has no database to ask. (One that is busy, or takes too long, is the same for
#: everybody: asking it a second time would make it no better.)
_WITHOUT_DATABASE = ("db_unreachable", "pool_closed", "unavailable")
_KINDS = {
    f"urn:aegis:error:{kind.code}": kind
    for kind in (getattr(errors, name) for name in errors.__all__)
}


def ask(settings: Settings, path: str, body: dict[str, Any] | None = None) -> Any:
    """POST `body`, or GET without one; None where nobody serves, or nobody answers.

    For questions only: one that was asked twice has done no harm.

    Raises:
        AegisError: what the direct way would have raised.
    """
    presence = find_presence(settings.data_dir)
    token = find_token(settings.data_dir) if presence is not None else None
    if presence is None or token is None or presence.serves != fingerprint(settings, token):
        return None
    if settings.database_url is None and not _database_runs(settings):
        return None
    import http.client

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection: http.client.HTTPConnection | None = None
    try:
        context = trusting(presence)
        host = presence.url.partition("://")[2]
        connection = (
            http.client.HTTPConnection(host, timeout=_TIMEOUT_S)
            if context is None
            else http.client.HTTPSConnection(host, timeout=_TIMEOUT_S, context=context)
        )
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        if connection is not None:
            connection.close()
    if response.status in _STRANGERS:
        return None
    if response.status == 503 and answer.get("code") in _WITHOUT_DATABASE:
        return None
    if response.status >= 400:
        kind = _KINDS.get(answer.get("type"), errors.AegisError)
        raise kind(answer.get("detail", "The server gave no reason."), code=answer.get("code"))
    return answer


def _database_runs(settings: Settings) -> bool:
    """Tell whether the embedded server was not stopped: then it has a `postmaster.pid`."""
    return any((settings.data_dir / "postgres").glob("*/postmaster.pid"))
