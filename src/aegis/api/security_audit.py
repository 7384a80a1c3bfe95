"""`/v1/security/audit`: the audit log, read and verified."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query

from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Answer
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.security.audit.actor import ActorKind, Face
from aegis.security.audit.models import Severity

__all__ = ["router"]

router = Router(prefix="/v1/security/audit", tags=["security"], dependencies=[KnownParameters])


class AuditEntryAnswer(Answer):
    """A row: who did what to which thing, when and through what."""

    seq: int
    recorded_at: datetime
    action: str
    actor_kind: ActorKind
    actor_id: str | None
    face: Face
    request_id: str | None
    object_kind: str
    object_id: str | None
    details: dict[str, Any]
    hash: str


class AuditList(Answer):
    """A page of rows, the newest first."""

    items: list[AuditEntryAnswer]
    #: `before` of the next page; null at the end.
    next_before: int | None


class AuditFindingAnswer(Answer):
    """One thing that is not as it was written, or makes tampering easier."""

    seq: int | None
    severity: Severity
    kind: str
    text: str


class AuditVerificationAnswer(Answer):
    """What verifying found."""

    state: Literal["ok", "warning", "tampered"]
    complete: bool
    log_id: str
    from_seq: int
    through_seq: int
    rows: int
    problems: int
    warnings: int
    head_hash: str
    elapsed_ms: float
    findings: list[AuditFindingAnswer]


class AuditHeadAnswer(Answer):
    """Where the chain stands, signed; keep it elsewhere to compare with later."""

    log_id: str
    seq: int
    hash: str
    at: datetime
    accepts: bool
    from_backup: bool
    secret_id: str
    signature: str


@router.get("", response_model=AuditList)
async def list_audit_log(
    client: ClientOf,
    since: OptionalTime = None,
    until: OptionalTime = None,
    actor: Annotated[str | None, Query(description="A kind, or an id.")] = None,
    action: Annotated[str | None, Query(description="An action, or an area: keys.*")] = None,
    object: Annotated[str | None, Query(description="A kind, or KIND:ID.")] = None,
    before: int | None = None,
    limit: int = 50,
) -> Any:
    """Return who changed what, the newest first."""
    items = await client.audit_log.list(
        since=since,
        until=until,
        actor=actor,
        action=action,
        object=object,
        before=before,
        limit=limit,
    )
    more = items[-1].seq if len(items) == limit and items[-1].seq > 1 else None
    return answer({"items": items, "next_before": more})


@router.get("/head", response_model=AuditHeadAnswer)
async def audit_log_head(client: ClientOf) -> Any:
    """Return where the chain stands, signed; nothing is written."""
    from aegis.security.audit.anchors import written

    return answer(written(await client.audit_log.head(keep=False)))


@router.post("/verify", response_model=AuditVerificationAnswer)
async def verify_audit_log(
    client: ClientOf,
    recent: Annotated[bool, Query(description="Only what came after the last anchor.")] = False,
) -> Any:
    """Verify the log; a long one takes its time: `recent` is for those that ask often."""
    found = await client.audit_log.verify(complete=not recent)
    return answer(found)


@router.get("/{seq}", response_model=AuditEntryAnswer)
async def get_audit_entry(client: ClientOf, seq: int) -> Any:
    """Return one row."""
    return answer(await client.audit_log.get(seq))
