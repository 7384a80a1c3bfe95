"""Whether the audit log is as it was written; `aegis security audit verify` reads all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import AegisError
from aegis.ops.health.looking import check, seconds, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen
from aegis.security.audit.glancing import glance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

_FIX = "aegis security audit verify"


@check(
    "audit-chain",
    "access",
    "The audit log is as it was written",
    means="Somebody changed, or can change, what is known of who changed what.",
    advice="`aegis security audit verify` says where; compare it with a backup.",
    limits=Limits(warning=3),
    unit="days since it was verified",
    fine="intact",
)
async def audit_chain(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare head, last row, guards and anchors, and tell what the last verification found."""
    if await value(conn, "SELECT to_regclass('audit_head') IS NULL"):
        raise CouldNotCheck("this database has no audit log; `aegis db upgrade` makes it")
    try:
        found = await glance(conn, ask.settings)
    except AegisError as error:
        if error.code == "not_found":
            return [Seen(observed=error.message, state="critical", fix=_FIX)]
        raise CouldNotCheck(error.message) from error
    seen = [
        Seen(
            object=one.kind if one.seq is None else f"row {one.seq}",
            observed=one.text,
            state="critical" if one.severity == "problem" else "warning",
            fix=_FIX,
        )
        for one in found.findings
    ]
    if found.last is None:
        if found.seq:
            seen.append(Seen(observed="it was never verified", state="ok", fix=_FIX))
        return seen or [Seen(observed="nothing was changed yet", state="ok")]
    if found.last.problem_count:
        seen.append(
            Seen(
                object="last verification",
                observed=found.last.first_finding or "it found something",
                state="critical",
                fix=_FIX,
            )
        )
    age_s = max(0.0, (ask.now - found.last.verified_at).total_seconds())
    seen.append(Seen(observed=f"verified {seconds(age_s)} ago", value=age_s / 86_400, fix=_FIX))
    return seen


CHECKS = (audit_chain,)
