"""`/v1/security/check`: who may do what, compared with what should be."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from aegis.api.route import Router
from aegis.api.shapes import Answer
from aegis.api.state import ClientOf, KnownParameters, answer

__all__ = ["router"]

router = Router(prefix="/v1/security", tags=["security"])


class SecurityFinding(Answer):
    """One check: what is not as it should be, or why it cannot be told."""

    id: str
    title: str
    verdict: Literal["ok", "bad", "unknown"]
    findings: list[str]
    advice: str


class SecurityReport(Answer):
    """All checks; `mode` is `single` where one role owns and uses everything."""

    checked_at: datetime
    verdict: Literal["ok", "bad", "unknown"]
    mode: Literal["roles", "single"]
    checks: list[SecurityFinding]


@router.get("/check", response_model=SecurityReport, dependencies=[KnownParameters])
async def security_check(client: ClientOf) -> Any:
    """Compare roles, rights and logins with what they should be, as far as our role may look."""
    return answer(await client.security.check())
