"""What an audit says: findings with stable ids, what each means, and what repairs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "CHECKS",
    "REPAIRABLE",
    "Action",
    "AuditReport",
    "Check",
    "Example",
    "Finding",
    "Quarantined",
    "Repaired",
    "Severity",
    "excerpt",
]

Severity = Literal["info", "warning", "error"]
#: What a repair did to a row.
Action = Literal["deleted", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is looked for."""

    severity: Severity
    meaning: str
    #: Ways of its repair, the usual one first; empty where there is one.
    ways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row that a check found."""

    table: str
    #: None where it is no row, such as a namespace.
    id: int | None
    namespace: str
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found."""

    #: Stable id of the check.
    id: str
    severity: Severity
    #: Rows; an estimate where `sampled`.
    count: int
    sampled: bool
    examples: list[Example]
    meaning: str
    #: The command that repairs it.
    repair: str
    #: Why the check is not complete; None where it is.
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found; `findings` is empty where all is well."""

    #: None: all namespaces.
    namespace: str | None
    #: Episodes there are, of which so many texts were read.
    episodes: int
    looked_at: int
    findings: list[Finding]
    #: Checks that could not be finished, one line each.
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did, or would do."""

    kind: str
    #: Which of its ways; None where there is one.
    way: str | None = None
    dry_run: bool
    #: Rows that were repaired, or would be.
    rows: int
    #: Rows that stay because a decision refers to them, or because they changed meanwhile.
    held: int
    #: The first of them; where the repair chooses, the text says what it does with each.
    examples: list[Example]
    #: How to undo it; None where nothing was deleted or overwritten.
    undo: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A row, or old values of one, that a repair put aside (`memory_quarantine`)."""

    id: int
    namespace: str
    source_table: str
    source_row_id: int
    #: Whether the row was deleted, or only changed.
    action: Action
    kind: str
    reason: str
    #: The whole row without its vector, or the old values.
    content: dict[str, Any]
    created_at: datetime


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    flat = " ".join(text[:400].split())
    return flat if len(flat) <= 80 else flat[:79].rstrip() + "…"


CHECKS: Mapping[str, Check] = {
    "junk_empty": Check(severity="warning", meaning="Episodes that say next to nothing."),
    "junk_boilerplate": Check(
        severity="warning", meaning="What assistants say to everybody, prompts among it."
    ),
    "junk_tool_output": Check(
        severity="warning", meaning="Output of tools, data and logs, recorded as memories."
    ),
    "junk_heartbeats": Check(
        severity="warning", meaning="Reports that something runs, again and again."
    ),
    "junk_echoes": Check(
        severity="warning", meaning="Recalled text that was written back and adds nothing."
    ),
    "duplicates_exact": Check(
        severity="warning", meaning="Episodes that say what an earlier one says, word for word."
    ),
    "duplicates_near": Check(
        severity="info", meaning="Episodes of which nearly every phrase is in an earlier one."
    ),
    "contradictions": Check(
        severity="error",
        meaning="Facts that hold now and contradict one another; the repair ends the older one.",
    ),
    "orphans_related": Check(
        severity="info", meaning="Episodes whose related_memories name episodes that are gone."
    ),
    "orphans_facts": Check(
        severity="info",
        meaning="Facts that rest on episodes, or were superseded by facts, that are gone; the "
        "repair names others that say or follow them, and trusts those less that nothing bears "
        "out.",
    ),
    "decisions_open": Check(
        severity="info",
        meaning="Decisions without an outcome 90 days after it was due, or after they were made; "
        "the repair has them asked about again, or closes them as nobody knows.",
        ways=("remind", "close"),
    ),
    "facts_stale": Check(
        severity="info",
        meaning="Facts that nothing has confirmed or changed for a year; the repair trusts them "
        "less.",
    ),
    "facts_expired": Check(
        severity="info",
        meaning="Facts that have ended and that nothing has followed; the repair names what did, "
        "or notes that nothing does, or archives them.",
        ways=("follow", "archive"),
    ),
    "vectors_missing": Check(
        severity="warning", meaning="Rows that only words find, because they have no vector."
    ),
    "vectors_other_model": Check(
        severity="warning", meaning="Rows whose vectors are of another model and are not searched."
    ),
    "vectors_dimensions": Check(
        severity="error", meaning="Vectors whose length is not that of their model."
    ),
    "namespaces_similar": Check(
        severity="warning",
        meaning="Namespaces whose names differ in case, blanks or marks only; the repair moves "
        "the smaller one's rows into the larger one.",
    ),
    "namespaces_skew": Check(
        severity="info",
        meaning="One namespace holds more than nine tenths of all episodes, beside two or more, "
        "and the statistics by which searches are planned do not say so.",
    ),
    "terms_stale": Check(
        severity="info",
        meaning="Namespaces whose words were last counted long ago, or when they were half as "
        "large, so that recall weighs words by what was.",
    ),
    "future_timestamps": Check(
        severity="warning",
        meaning="Episodes that are dated more than a day ahead; the repair dates them by when "
        "they were recorded.",
    ),
}
REPAIRABLE: Sequence[str] = tuple(CHECKS)
