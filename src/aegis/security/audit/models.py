"""What the audit log is made of, and what verifying it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from aegis.security.audit.actor import ActorKind, Face

__all__ = [
    "Anchor",
    "AuditEntry",
    "Finding",
    "Head",
    "LockedHead",
    "Row",
    "Seal",
    "Sealed",
    "Severity",
    "Verification",
    "Verified",
]

Severity = Literal["problem", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as it is stored."""

    seq: int
    recorded_at: datetime
    action: str
    actor_kind: str
    actor_id: str | None
    face: str
    request_id: str | None
    object_kind: str
    object_id: str | None
    #: JSON, as text: what somebody else wrote need not be readable.
    details: str
    previous_hash: bytes
    hash: bytes
    secret_id: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A row as people read it."""

    seq: int
    recorded_at: datetime
    #: A dotted id, such as keys.revoke.
    action: str
    actor_kind: ActorKind
    #: Id of a key, user@host, a job.
    actor_id: str | None
    face: Face
    request_id: str | None
    object_kind: str
    #: An id, or `~` and a keyed digest of a name.
    object_id: str | None
    details: dict[str, Any]
    #: In hexadecimal digits, 64.
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the chain stands."""

    log_id: UUID
    #: 0 before the first row.
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedHead(Head):
    """The head while nobody else can append, and the time of the server."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A head that was written down elsewhere, signed."""

    log_id: UUID
    seq: int
    hash: bytes
    at: datetime
    secret_id: str
    #: Earlier anchors beyond this one are void: the operator restored an older database.
    accepts: bool = False
    #: A backup noted it, and nobody verified the rows before it at that time.
    from_backup: bool = False
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What is kept of rows that were let go."""

    through_seq: int
    from_seq: int
    hash: bytes
    row_count: int
    first_recorded_at: datetime
    last_recorded_at: datetime
    sealed_at: datetime
    secret_id: str
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What sealing did."""

    from_seq: int
    through_seq: int
    rows: int
    #: When the last of them was written.
    through: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it was written, or that makes tampering easier."""

    #: Of the row; None where it is about the log as a whole.
    seq: int | None
    severity: Severity
    #: A fixed word: changed, forged, gap, order, unlinked, tail, beyond_head, seal, anchor,
    #: rolled_back, other_log, guard, no_anchor, unreadable.
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A verification as it was written down."""

    verified_at: datetime
    complete: bool
    problem_count: int
    warning_count: int
    first_finding: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What verifying found; `findings` holds the first fifty."""

    #: ok, warning (intact as far as it can be told) or tampered.
    state: Literal["ok", "warning", "tampered"]
    #: Whether it began at the first row that there is.
    complete: bool
    log_id: str
    #: Number of the first row that was to be read, and of the last one, as the head says.
    from_seq: int
    through_seq: int
    rows: int
    problems: int
    warnings: int
    head_hash: str
    elapsed_ms: float
    findings: Sequence[Finding] = field(default_factory=tuple)
