"""Keys that are bound to namespaces: where they may go, and that they stay in their own.

Invariant: every route is named here once, and a test fails for one that is not. Where a route has
no namespace, a bound key is refused, unless it is about nobody's memory (`FREE`). Where it has one,
the request runs within the key's namespaces (`memory/binding.py`), whatever the route forgets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from aegis.api.errors import problem_of
from aegis.errors import PermissionDenied
from aegis.memory.binding import Bounds, bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from aegis.keys import Binding, Verification

__all__ = ["FREE", "READS", "REFUSED", "WRITES", "Bound", "access_of"]

Access = Literal["reads", "writes", "free", "refused"]

#: Routes that read one namespace.
READS: Final = """
GET /v1/memory/episodes
GET /v1/memory/episodes/{episode_id}
POST /v1/memory/recall
POST /v1/memory/context
GET /v1/memory/facts
POST /v1/memory/facts/recall
GET /v1/memory/facts/{fact_id}
GET /v1/memory/facts/{fact_id}/history
GET /v1/memory/facts/{fact_id}/sources
GET /v1/memory/decisions
POST /v1/memory/decisions/recall
POST /v1/memory/decisions/advise
GET /v1/memory/decisions/calibration
GET /v1/memory/decisions/due
GET /v1/memory/decisions/{decision_id}
GET /v1/memory/forget
GET /v1/memory/policies
GET /v1/memory/holds
GET /v1/memory/archives
GET /v1/memory/graph/neighbours
GET /v1/memory/graph/path
GET /v1/memory/graph/entities
GET /v1/memory/graph/merges
GET /v1/memory/graph/draw
GET /v1/memory/graphiti
GET /v1/memory/proposals
GET /v1/memory/proposals/{proposal_id}
GET /v1/sessions
GET /v1/sessions/events
GET /v1/sessions/{session_id}
GET /v1/sessions/{session_id}/events
GET /v1/research
GET /v1/research/{job_id}
GET /v1/research/{job_id}/status
"""

#: Routes that change one namespace.
WRITES: Final = """
POST /v1/memory/episodes
POST /v1/memory/episodes/batch
PATCH /v1/memory/episodes/{episode_id}
DELETE /v1/memory/episodes/{episode_id}
POST /v1/memory/facts
PATCH /v1/memory/facts/{fact_id}
DELETE /v1/memory/facts/{fact_id}
POST /v1/memory/facts/{fact_id}/undo
POST /v1/memory/decisions
PATCH /v1/memory/decisions/{decision_id}
DELETE /v1/memory/decisions/{decision_id}
POST /v1/memory/decisions/{decision_id}/outcome
PUT /v1/memory/holds/{episode_id}
DELETE /v1/memory/holds/{episode_id}
POST /v1/memory/graph/relations
POST /v1/memory/graph/relations/end
POST /v1/memory/graph/merges
POST /v1/memory/graph/merges/{merge_id}/undo
POST /v1/memory/proposals/{proposal_id}/accept
POST /v1/memory/proposals/{proposal_id}/reject
POST /v1/memory/proposals/{proposal_id}/undo
POST /v1/research
DELETE /v1/research/{job_id}
POST /v1/research/{job_id}/cancel
"""

#: Routes about nobody's memory, or, of MCP, whose tools see to it (`mcp/tools.py`).
FREE: Final = """
POST /mcp
POST /v1/keys/verify
POST /v1/usage/events
GET /v1/usage/events
GET /v1/usage
GET /v1/usage/top
"""

#: Routes about all of the database, or of its operator.
REFUSED: Final = """
POST /v1/memory/forget
POST /v1/memory/sweep
PUT /v1/memory/policies
DELETE /v1/memory/policies
POST /v1/memory/archives/{archive_id}/verify
POST /v1/memory/archives/{archive_id}/restore
POST /v1/memory/erasures/plan
POST /v1/memory/erasures
GET /v1/memory/erasures
GET /v1/memory/erasures/{erasure_id}
POST /v1/memory/erasures/{erasure_id}/verify
POST /v1/memory/graph/build
POST /v1/memory/graphiti
POST /v1/memory/graphiti/forget
POST /v1/memory/consolidation
GET /v1/memory/audit
POST /v1/memory/audit/repair
GET /v1/memory/quarantine
POST /v1/memory/quarantine/restore
GET /v1/memory/models
GET /v1/memory/models/status
GET /v1/memory/models/plan
GET /v1/memory/models/check
POST /v1/memory/models/change
POST /v1/memory/models/pause
POST /v1/memory/models/resume
POST /v1/memory/models/switch
POST /v1/memory/models/cancel
POST /v1/memory/models/finish
POST /v1/keys
GET /v1/keys
GET /v1/keys/tiers
PATCH /v1/keys/tiers/{name}
GET /v1/keys/customers
GET /v1/keys/customers/{customer_id}
PATCH /v1/keys/customers/{customer_id}
POST /v1/keys/customers/{customer_id}/grants
GET /v1/keys/customers/{customer_id}/ledger
GET /v1/keys/{key_id}
PATCH /v1/keys/{key_id}
POST /v1/keys/{key_id}/disable
POST /v1/keys/{key_id}/enable
POST /v1/keys/{key_id}/expire
POST /v1/keys/{key_id}/revoke
POST /v1/keys/{key_id}/rotate
GET /v1/keys/{key_id}/balance
POST /v1/keys/{key_id}/grants
GET /v1/keys/{key_id}/ledger
POST /v1/sessions/hook
POST /v1/sessions/sweep
GET /v1/usage/partitions
POST /v1/usage/reconcile
GET /v1/research/providers
GET /v1/research/budget
PUT /v1/research/budget
GET /v1/research/prices
PUT /v1/research/prices
"""

#: Everything below these is refused, too: of workers, of operators, or of nobody's namespace.
CLOSED: Final = (
    "/v1/billing", "/v1/metrics", "/v1/workflows", "/v1/executions", "/v1/approvals", "/v1/jobs",
    "/v1/schedules", "/v1/workers", "/v1/intel", "/v1/backups", "/v1/maintenance", "/v1/stats",
    "/v1/alerts", "/v1/security", "/v1/status", "/v1/health", "/healthz", "/readyz", "/metrics",
    "/openapi.json",
)  # fmt: skip


def _compiled() -> Mapping[str, Sequence[tuple[re.Pattern[str], int, Access]]]:
    tables: dict[str, list[tuple[re.Pattern[str], int, Access]]] = {}
    kinds: tuple[tuple[str, Access], ...] = (
        (READS, "reads"), (WRITES, "writes"), (FREE, "free"), (REFUSED, "refused")
    )  # fmt: skip
    for text, access in kinds:
        for route in text.split("\n"):
            if route:
                method, template = route.split(" ")
                pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
                tables.setdefault(method, []).append((pattern, template.count("{"), access))
    # A word goes before a place for any.
    return {method: sorted(rows, key=lambda row: row[1]) for method, rows in tables.items()}


_ROUTES: Final = _compiled()


def access_of(method: str, path: str) -> Access:
    """Return what a bound key may do there; what is named nowhere is refused."""
    for pattern, _, access in _ROUTES.get(method, ()):
        if pattern.fullmatch(path):
            return access
    return "refused"


class Bound:
    """ASGI middleware behind the guard: binds requests to the namespaces of their keys."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its namespaces, or answer it with a problem."""
        found: Verification | None = scope.get("aegis.key")
        if found is None or found.namespaces is None:
            await self._app(scope, receive, send)
            return
        access = access_of(scope["method"], scope["path"])
        if access == "refused":
            await problem_of(_refuse(found.namespaces))(scope, receive, send)
            return
        with bound(_bounds(found.namespaces, writes=access == "writes")):
            await self._app(scope, receive, send)


def _bounds(namespaces: Sequence[Binding], *, writes: bool) -> Bounds:
    return Bounds(
        tuple(one.namespace for one in namespaces),
        frozenset(one.namespace for one in namespaces if one.write),
        writes,
    )


def _refuse(namespaces: Sequence[Binding]) -> PermissionDenied:
    names = ", ".join(one.namespace for one in namespaces)
    return PermissionDenied(
        f"The key is bound to {names}; this is not about one of them.", code="namespace_denied"
    )
