"""The scope that each route asks of a key; what no line here names is the operator's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.keys import Verification

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OPERATOR", "scope_of"]

#: Who calls with the operator token.
OPERATOR: Final = Verification(valid=True, code="VALID", customer_id="operator", scopes=("*",))

#: Only `*` grants it.
_OPERATOR_ONLY: Final = "operator"
#: POSTs that ask, and change nothing.
_QUESTIONS: Final = ("/recall", "/context", "/advise", "/accounts/find")
#: Beginning of the path, scope of reading, scope of anything else; the first that fits counts.
_AREAS: Final[Sequence[tuple[str, str, str]]] = (
    ("/v1/keys/verify", "keys:verify", "keys:verify"),
    # Who may issue or rotate a key may have any: that is the operator.
    ("/v1/keys", "keys:read", _OPERATOR_ONLY),
    ("/v1/usage/partitions", _OPERATOR_ONLY, _OPERATOR_ONLY),
    ("/v1/usage/events", "usage:read", "usage:write"),
    # Beyond these, of the caller's own customer: `api/usage.py` sees to it.
    ("/v1/usage", "usage:read", _OPERATOR_ONLY),
    # What customers owe, and what they are told of it, is the operator's to change.
    ("/v1/billing", "billing:read", _OPERATOR_ONLY),
    # Pushing asks a language model, at the operator's cost.
    ("/v1/memory/graphiti", "memory:read", _OPERATOR_ONLY),
    # What may be spent, and what it is reckoned with, is the operator's to say.
    ("/v1/research/budget", "research:read", _OPERATOR_ONLY),
    ("/v1/research/prices", "research:read", _OPERATOR_ONLY),
    ("/v1/research", "research:read", "research:write"),
    # A job may do anything that a registered function does, in any namespace.
    ("/v1/jobs", "jobs:read", _OPERATOR_ONLY),
    ("/v1/schedules", "jobs:read", _OPERATOR_ONLY),
    ("/v1/workers", "jobs:read", _OPERATOR_ONLY),
    # Adding a competitor has us ask websites of the caller's choice.
    ("/v1/intel/changes/ack", "intel:write", "intel:write"),
    ("/v1/intel", "intel:read", _OPERATOR_ONLY),
    # Who measures another machine need not be the operator; who says what is wrong is.
    ("/v1/metrics/rules", "metrics:read", _OPERATOR_ONLY),
    ("/v1/metrics", "metrics:read", "metrics:write"),
    # Who may change what people are told is the operator.
    ("/v1/alerts", "alerts:read", _OPERATOR_ONLY),
    ("/v1/memory", "memory:read", "memory:write"),
    # Who saves a workflow has workers do whatever nodes can do.
    ("/v1/workflows", "workflows:read", _OPERATOR_ONLY),
    ("/v1/executions", "workflows:read", "workflows:run"),
    # Who may start is not who may approve.
    ("/v1/approvals", "workflows:approve", "workflows:approve"),
    ("/v1/backups", "backups:read", _OPERATOR_ONLY),
    ("/v1/status", "status:read", _OPERATOR_ONLY),
    # Where a door is open is nobody else's to know.
    ("/v1/security", _OPERATOR_ONLY, _OPERATOR_ONLY),
)


def scope_of(method: str, path: str) -> str:
    """Return the scope that a request needs."""
    path = path.rstrip("/")
    for begin, reading, writing in _AREAS:
        if path == begin or path.startswith(f"{begin}/"):
            reads = method in ("GET", "HEAD") or (method == "POST" and path.endswith(_QUESTIONS))
            return reading if reads else writing
    return _OPERATOR_ONLY
