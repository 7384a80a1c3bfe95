"""`/v1/memory/audit` and `/v1/memory/quarantine`. All namespaces, unless one is named."""

from __future__ import annotations

from typing import Any

from aegis.api import upkeep_answers as answers
from aegis.api.route import Router
from aegis.api.schemas import RepairBody, RestoreBody
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.wire.cursor import BY_ID

__all__ = ["router"]

router = Router(prefix="/v1/memory", tags=["audit"], dependencies=[KnownParameters])

#: Who did it, in the history.
_ACTOR = "http"


@router.get("/audit", response_model=answers.AuditReport)
async def audit(memory: MemoryOf, namespace: str | None = None) -> Any:
    """Return what is doubled, contradictory, junk, orphaned or stale; nothing is changed."""
    return answer(await memory.audit.run(namespace=namespace))


@router.post("/audit/repair", response_model=answers.Repaired)
async def repair(memory: MemoryOf, body: RepairBody) -> Any:
    """Repair what a check finds; dry, unless `dry_run` is false."""
    return answer(await memory.audit.repair(actor=_ACTOR, **body.given()))


@router.get("/quarantine", response_model=answers.QuarantinePage)
async def list_quarantined(
    memory: MemoryOf,
    kind: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
) -> Any:
    """List what repairs have put aside; `next_cursor` leads to the next page."""
    rows = await memory.audit.quarantined(
        kind=kind, limit=limit, after=BY_ID.at(cursor), namespace=namespace
    )
    return answer(BY_ID.page(rows, limit, cursor))


@router.post("/quarantine/restore", response_model=answers.Restored)
async def restore(memory: MemoryOf, body: RestoreBody) -> Any:
    """Put entries back where they were, or all of a kind."""
    return answer({"restored": await memory.audit.restore(**body.given())})
