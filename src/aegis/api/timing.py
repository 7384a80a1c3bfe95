"""How long a request may take, by the template of its path: short, long, or a stream.

Short is the rule: what does not answer in `http_request_timeout_s` is given up, and the statement
that it waits for is cancelled. What is listed here goes on until it is done.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

__all__ = ["LONG", "STREAMS", "Length", "length_of"]

Length: TypeAlias = Literal["short", "long", "stream"]

#: Method and template of what takes as long as there is work; its statements have limits of theirs.
LONG: Final = frozenset(
    {
        ("POST", "/mcp"),
        ("POST", "/v1/backups"),
        ("POST", "/v1/billing/runs"),
        ("GET", "/v1/billing/preview"),
        ("POST", "/v1/intel/check"),
        ("POST", "/v1/intel/competitors/{competitor}/discover"),
        ("GET", "/v1/health/checks"),
        ("GET", "/v1/memory/audit"),
        ("POST", "/v1/memory/audit/repair"),
        ("POST", "/v1/memory/archives/{archive_id}/restore"),
        ("POST", "/v1/memory/archives/{archive_id}/verify"),
        ("POST", "/v1/memory/consolidation"),
        ("POST", "/v1/memory/episodes/batch"),
        ("POST", "/v1/memory/erasures"),
        ("POST", "/v1/memory/erasures/plan"),
        ("POST", "/v1/memory/erasures/{erasure_id}/verify"),
        ("POST", "/v1/memory/forget"),
        ("POST", "/v1/memory/graph/build"),
        ("POST", "/v1/memory/graphiti"),
        ("POST", "/v1/memory/graphiti/forget"),
        ("POST", "/v1/memory/models/change"),
        ("GET", "/v1/memory/models/check"),
        ("POST", "/v1/memory/models/finish"),
        ("POST", "/v1/memory/models/switch"),
        ("POST", "/v1/memory/sweep"),
        ("POST", "/v1/sessions/sweep"),
        ("POST", "/v1/usage/reconcile"),
    }
)
STREAMS: Final = frozenset({("GET", "/v1/executions/{id}/watch")})


def _pattern(templates: frozenset[tuple[str, str]]) -> re.Pattern[str]:
    forms = (f"{method} {re.sub(r'{[^}]*}', '[^/]+', path)}" for method, path in sorted(templates))
    return re.compile("|".join(forms))


_LONG: Final = _pattern(LONG)
_STREAMS: Final = _pattern(STREAMS)


def length_of(method: str, path: str) -> Length:
    """Return how long a request may take."""
    asked = f"{method} {path.rstrip('/')}"
    if _LONG.fullmatch(asked):
        return "long"
    return "stream" if _STREAMS.fullmatch(asked) else "short"
