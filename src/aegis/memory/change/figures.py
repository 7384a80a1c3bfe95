"""What a change of the embedding model looks like from outside: plan, status, check, models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from aegis.memory.advice import Interval
    from aegis.memory.store.registry import ModelState

__all__ = [
    "PAUSES",
    "PHASES",
    "ChangePlan",
    "ChangeStatus",
    "ListedModel",
    "Pauses",
    "Phase",
    "Places",
    "RecallCheck",
    "SpaceRecall",
    "Worked",
]

Phase = Literal["none", "filling", "paused", "ready", "moving", "switched"]
PHASES: tuple[Phase, ...] = ("none", "filling", "paused", "ready", "moving", "switched")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model that is registered, or that rows carry."""

    #: None for vectors that nobody named the model of.
    model: str | None
    #: None where it is not registered: callers brought its vectors along.
    state: ModelState | None
    dimensions: int | None
    provider: str | None
    paused: bool
    #: Rows that carry its vector.
    episodes: int
    facts: int
    calls: int
    texts: int
    tokens: int
    cost_usd: Decimal
    usd_per_million_tokens: Decimal | None
    failures: int
    last_error: str | None
    last_used_at: datetime | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What a change would take, before anything begins."""

    source: str
    target: str
    dimensions: int
    episodes: int
    facts: int
    #: Rows to embed: episodes and facts.
    texts: int
    characters: int
    #: Estimated from a sample, rather too many than too few.
    tokens: int
    requests: int
    #: None where no setting names the price; 0 for the built-in model.
    cost_usd: Decimal | None
    usd_per_million_tokens: Decimal | None
    #: At the limits that the settings name; None where they name none.
    minutes_at_least: float | None
    #: Room that both vectors of every row take until the change is finished.
    bytes: int
    #: Rows with vectors of further models, which stay as they are.
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStatus:
    """Where a change stands."""

    phase: Phase
    #: What recording and recall use now.
    active: str | None
    #: The model that is changed to; once switched, the one that was changed from.
    other: str | None
    #: Rows that the change is about.
    episodes: int
    facts: int
    #: Of these, rows with a vector of the model that is changed to.
    episodes_done: int
    facts_done: int
    remaining: int
    #: Whether rows may carry either model, so that both spaces are searched.
    mixed: bool
    since: datetime | None
    #: What to do next, in a sentence.
    advice: str
    #: What is wrong between this process's settings and the database; None for nothing.
    disagreement: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRecall:
    """How many questions found the memory that they were made of, in one space."""

    model: str
    found: int
    #: Share of the questions, 0 to 1; None without a question.
    recall: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallCheck:
    """Both spaces asked the same questions."""

    k: int
    #: Questions asked.
    samples: int
    #: None where this process has no embedder of the model.
    source: SpaceRecall | None
    target: SpaceRecall
    #: Share of the `k` nearest that both spaces have in common; mean over the questions.
    agreement: float | None
    #: Rows that have no vector of the target yet.
    missing: int
    #: Why not to switch, a sentence each; empty when there is no reason.
    objections: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Seconds after a switch until every process has noticed."""

    #: Until rows move: a process that has not noticed looks for vectors in the rows alone.
    move_s: float = 15.0
    #: Until one space is enough: what was embedded before the switch has been recorded.
    settle_s: float = 120.0
    #: From when rows are searched alone until the copies beside them go.
    leave_s: float = 60.0


PAUSES = Pauses()


@dataclass(slots=True)
class Places:
    """How far a worker has looked, so that the next round goes on from there."""

    after: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What a round did."""

    embedded: int = 0
    moved: int = 0
    dropped: int = 0
    #: Texts that the endpoint refuses.
    refused: int = 0
    #: Another worker is at it; nothing was done.
    busy: bool = False

    @property
    def rows(self) -> int:
        """Rows that something was done with."""
        return self.embedded + self.moved + self.dropped
