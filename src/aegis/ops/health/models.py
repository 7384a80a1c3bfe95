"""What checks are, what they see, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.db.pooler import Pooling

__all__ = [
    "GROUPS",
    "STATES",
    "Ask",
    "Check",
    "CouldNotCheck",
    "Finding",
    "Group",
    "Limits",
    "Report",
    "Result",
    "Run",
    "Seen",
    "State",
]

#: In the order in which they get worse; what could not be checked is not well.
State = Literal["ok", "unknown", "warning", "critical"]
STATES: tuple[State, ...] = ("ok", "unknown", "warning", "critical")
Group = Literal[
    "load", "cache", "statements", "storage", "indexes", "vacuum", "data", "backup", "settings",
    "access",
]  # fmt: skip
GROUPS: tuple[Group, ...] = (
    "load", "cache", "statements", "storage", "indexes", "vacuum", "data", "backup", "settings",
    "access",
)  # fmt: skip


class CouldNotCheck(Exception):
    """A check has no answer here; its text says why and what would change that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on something is not well. Both None: whatever is found is a finding."""

    warning: float | None = None
    critical: float | None = None
    #: What is smaller than this does not count at all, in the unit of the check's text.
    least: float = 0.0
    #: Of a check without numbers: what its findings are.
    level: State = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a check saw of one thing."""

    #: Which thing, such as a table or a process; empty for the server as a whole.
    object: str = ""
    #: In words, with its figures.
    observed: str
    #: The figure that is judged; None where seeing it at all is the finding.
    value: float | None = None
    #: A statement or command that puts it right.
    fix: str | None = None
    #: Where the check itself knows better than a threshold.
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a check is asked with."""

    settings: Settings
    limits: Limits
    now: datetime
    #: What checks of one report share: a reading that several judge is made once.
    memo: dict[str, Any] = field(default_factory=dict[str, "Any"])
    #: What lies between this process and the server.
    pooling: Pooling = "none"


class Run(Protocol):
    """How a check looks: one or a few short statements; `conn` commits each and cannot write."""

    async def __call__(self, conn: Connection, ask: Ask) -> Sequence[Seen]:
        """Return what is there (`CouldNotCheck`, `psycopg.Error`)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check; `id` is stable: settings, alerts and links name it."""

    id: str
    group: Group
    title: str
    #: What a finding means for whoever uses the database.
    means: str
    #: What to do about it.
    advice: str
    run: Run
    limits: Limits = field(default_factory=Limits)
    #: Unit of the figure that is judged.
    unit: str = ""
    #: Unit of `limits.least`, with what it is of; empty where there is none.
    least_of: str = ""
    #: Whether small figures are bad ones.
    below: bool = False
    #: What a good state is called.
    fine: str = "none"

    @property
    def docs(self) -> str:
        """Where our documents speak of it."""
        return f"docs/reference/checks.md#{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not well."""

    object: str
    state: State
    observed: str
    value: float | None
    fix: str | None
    #: `check:object`, the same from one run to the next: what mutes and alerts go by.
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check came to."""

    id: str
    group: Group
    title: str
    state: State
    observed: str
    #: The worst figure; None where there is none.
    value: float | None
    #: From where on it is not well, in words.
    threshold: str
    means: str
    advice: str
    docs: str
    #: The worst first, at most `MOST_FINDINGS`; `hidden` more were left out.
    findings: Sequence[Finding]
    hidden: int
    #: Findings that a setting mutes.
    muted: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What all checks that were asked for came to."""

    checked_at: datetime
    state: State
    results: Sequence[Result]
    ok: int
    unknown: int
    warning: int
    critical: int
    elapsed_ms: float
