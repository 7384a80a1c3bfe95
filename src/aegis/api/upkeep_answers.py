"""The answers of consolidation and audit, as OpenAPI describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aegis.api.shapes import Answer
from aegis.memory.audit.report import Action, Severity
from aegis.memory.consolidation.proposal import Kind, Method, State

__all__ = [
    "AuditReport",
    "Consolidated",
    "Draft",
    "Example",
    "Finding",
    "Proposal",
    "ProposalPage",
    "QuarantinePage",
    "Quarantined",
    "Repaired",
    "Restored",
]


class Draft(Answer):
    """What a dry run would propose."""

    kind: Kind
    concept: str
    content: str
    sources: list[int]
    first_at: datetime
    last_at: datetime
    score: float
    method: Method


class Consolidated(Answer):
    """What a run did, or would do."""

    namespace: str
    dry_run: bool
    episodes: int
    groups: int
    proposed: list[int]
    grown: list[int]
    accepted: list[int]
    drafts: list[Draft]
    done_to: int
    notes: list[str]


class Proposal(Answer):
    """A proposed fact or pattern, and what became of it."""

    id: int
    namespace: str
    kind: Kind
    concept: str
    content: str
    sources: list[int]
    seen: int
    first_at: datetime
    last_at: datetime
    score: float
    method: Method
    state: State
    fact_id: int | None
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


class ProposalPage(Answer):
    """A page of proposals, the oldest first."""

    items: list[Proposal]
    next_cursor: str | None


class Example(Answer):
    """A row that a check found."""

    table: str
    id: int | None
    namespace: str
    excerpt: str


class Finding(Answer):
    """What a check found, what it means, and the command that repairs it."""

    id: str
    severity: Severity
    count: int
    sampled: bool
    examples: list[Example]
    meaning: str
    repair: str
    note: str | None


class AuditReport(Answer):
    """What an audit found; no finding where all is well."""

    namespace: str | None
    episodes: int
    looked_at: int
    findings: list[Finding]
    notes: list[str]


class Repaired(Answer):
    """What a repair did, or would do."""

    kind: str
    way: str | None
    dry_run: bool
    rows: int
    held: int
    examples: list[Example]
    undo: str | None


class Quarantined(Answer):
    """A row, or old values of one, that a repair put aside."""

    id: int
    namespace: str
    source_table: str
    source_row_id: int
    action: Action
    kind: str
    reason: str
    content: dict[str, Any]
    created_at: datetime


class QuarantinePage(Answer):
    """A page of what was put aside, the oldest first."""

    items: list[Quarantined]
    next_cursor: str | None


class Restored(Answer):
    """How many entries were put back."""

    restored: int
