"""The bodies and answers of forgetting, as OpenAPI describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Answer, Body
from aegis.memory.retention.archive import ArchiveKind, ArchiveReason, ArchiveState
from aegis.memory.retention.erasure import ErasureState
from aegis.memory.retention.expiry import ACTIONS, Action


class ForgetBody(Body):
    """How much to forget."""

    limit: int | None = Field(None, description="At most so many memories.")
    namespace: str | None = None


class SweepBody(Body):
    """Where to sweep."""

    everywhere: bool = Field(False, description="In every namespace.")
    namespace: str | None = None


class PolicyBody(Body):
    """How long memories of a kind live."""

    ttl: str = Field(description="A number and s, m, h, d, w or y, such as 30d.")
    event_type: str | None = None
    importance: str | None = None
    action: str = Field("delete", json_schema_extra={"enum": list(ACTIONS)})
    apply: bool = Field(False, description="Also to what is there, from its recording on.")
    namespace: str | None = None


class HoldBody(Body):
    """Why an episode is held."""

    reason: str


class RestoreBody(Body):
    """Which memories of an archive; all of them if nothing is named."""

    ids: list[int] = Field(default_factory=list[int])
    since: OptionalTime = None
    until: OptionalTime = None
    namespace: str | None = None


class VerifyBody(Body):
    """The names that were erased, all of them; none to check ids alone."""

    subject: str | None = None
    aliases: list[str] = Field(default_factory=list[str])


class SubjectBody(Body):
    """Whom or what to erase."""

    subject: str
    aliases: list[str] = Field(default_factory=list[str])
    namespace: str | None = Field(None, description="Only in this one; everywhere if left out.")


class ErasureBody(SubjectBody):
    """Whom or what to erase, and who asks for it."""

    actor: str | None = None
    rewrite: bool = Field(True, description="Write the touched tables anew; locks them.")


class Faded(Answer):
    """A memory that would be archived, and why."""

    id: int
    timestamp: datetime
    importance: str
    summary: str
    score: float
    why: str


class ForgetPlan(Answer):
    """What forgetting would take now."""

    namespace: str
    faded: int
    by_importance: dict[str, int]
    sample: list[Faded]
    below: float
    least_idle_days: dict[str, float]
    expired: dict[str, int]
    blocked: int
    protected: dict[str, int]


class Archive(Answer):
    """A Parquet file that holds what was forgotten."""

    id: int
    namespace: str
    kind: ArchiveKind
    reason: ArchiveReason
    state: ArchiveState
    path: str
    rows: int
    size_bytes: int
    sha256: str | None
    digest: str | None
    oldest_at: datetime | None
    newest_at: datetime | None
    started_at: datetime
    completed_at: datetime | None
    restored_at: datetime | None


class Archives(Answer):
    """Archives, the newest first."""

    items: list[Archive]


class ForgetReport(Answer):
    """What was forgotten."""

    namespace: str
    archived: int
    archives: list[Archive]


class SweepReport(Answer):
    """What became of what had expired."""

    deleted: int
    archived: int
    archives: list[Archive]


class Policy(Answer):
    """How long memories of a kind live; an empty text stands for any."""

    namespace: str
    event_type: str
    importance: str
    ttl_s: int
    action: Action
    set_at: datetime


class Policies(Answer):
    """Policies, the general ones first."""

    items: list[Policy]


class PolicySet(Answer):
    """A policy, and how many memories that were there have an end by it."""

    policy: Policy
    applied: int


class Hold(Answer):
    """An episode that is held."""

    episode_id: int
    reason: str
    held_at: datetime


class Holds(Answer):
    """What is held, by id."""

    items: list[Hold]


class ArchiveCheck(Answer):
    """Whether an archive's file is what was written."""

    id: int
    path: str
    ok: bool
    rows: int
    problem: str | None


class ArchiveChecks(Answer):
    """Archives that were read."""

    items: list[ArchiveCheck]


class Restored(Answer):
    """What came back."""

    archive: Archive
    restored: int
    there: int
    left_out: int


class Mention(Answer):
    """A row that speaks of the subject."""

    table: str
    id: int | str
    text: str


class ErasurePlan(Answer):
    """What an erasure would delete."""

    namespace: str | None
    rows: dict[str, int]
    archived: dict[int, int]
    unreadable: list[int]
    log_lines: int
    spool_lines: int
    transcripts: int
    elsewhere: dict[str, int]
    held: int
    graphiti_copies: int
    sample: list[Mention]


class Erasure(Answer):
    """The proof of an erasure; nothing of what was deleted is in it."""

    id: int
    namespace: str | None
    state: ErasureState
    stage: str
    subject: str
    actor: str | None
    counts: dict[str, int]
    digests: dict[str, list[str]]
    files: list[str]
    verification: dict[str, Any] | None
    signature: str | None
    started_at: datetime
    finished_at: datetime | None


class Erasures(Answer):
    """Proofs, the newest first."""

    items: list[Erasure]


class ErasureCheck(Answer):
    """What a later look at an erasure found."""

    id: int
    ok: bool
    signature_ok: bool
    searched: bool
    found: dict[str, int]
    came_back: dict[str, int]
