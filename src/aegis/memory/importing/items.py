"""What the parsers hand on and what an import reports. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from aegis.memory.importing.beside import Beside
    from aegis.memory.importing.exported_facts import ExportedFact
    from aegis.memory.models import DecisionEpisode, Feedback, NewEpisode, NewFact, Outcome

__all__ = [
    "BrokenItem",
    "Event",
    "ImportReport",
    "ImportedDecision",
    "Item",
    "PassedOver",
    "Place",
    "Progress",
    "Source",
]

#: Broken items beyond this many are counted, not listed.
MAX_LISTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in its source an item stands."""

    file: str
    #: From 1.
    number: int
    #: What is counted: `line`, `message` or `commit`.
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedDecision:
    """A decision of a JSONL file, with its outcome."""

    task_context: str
    alternatives: Any
    chosen_option: str
    reasoning: str
    outcome_status: Outcome = "pending"
    outcome_details: Mapping[str, Any] | None = None
    lessons_learned: str | None = None
    user_feedback: Feedback | None = None
    created_at: datetime | None = None
    resolved_at: datetime | None = None
    confidence: float | None = None
    review_at: datetime | None = None
    #: What led to it, by ids in the exporting database.
    old_episodes: Sequence[DecisionEpisode] = ()
    #: Id, in the exporting database, of the episode that it belongs to.
    old_episode_id: int | None = None
    #: The episode to record with it, where the file has none for it.
    episode: NewEpisode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to record."""

    value: NewEpisode | NewFact | ExportedFact | ImportedDecision | Beside
    place: Place
    #: How far the source has been read when this was found, in the source's unit.
    position: int
    #: About how many bytes it takes.
    size: int
    #: Its id in the database that exported it, when it was created there, and its related
    #: memories by such ids.
    old_id: int | None = None
    old_created_at: datetime | None = None
    related_old_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenItem:
    """Something that cannot be recorded, and why."""

    place: Place
    reason: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Something that holds no memory, such as a transcript's bookkeeping lines."""

    what: str
    position: int


Event: TypeAlias = Item | BrokenItem | PassedOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source, opened: its events in order, and how much there is."""

    events: Iterator[Event]
    total: int
    #: What `total` and the events' positions count: `bytes` or `commits`.
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an import is."""

    done: int
    total: int
    unit: str
    recorded: int
    skipped: int
    broken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of an import."""

    kind: str
    path: str
    #: Namespaces that got something, or had it already.
    namespaces: list[str]
    #: Items found: recorded, skipped and broken ones together.
    read: int
    recorded: int
    #: There already, from an earlier run or from elsewhere.
    skipped: int
    broken_count: int
    #: The first `MAX_LISTED` of them.
    broken: list[BrokenItem] = field(default_factory=list[BrokenItem])
    #: What holds no memory and was passed over, by kind.
    passed_over: dict[str, int] = field(default_factory=dict[str, int])
    #: References to what the file does not hold; they were left out.
    dangling: int = 0
