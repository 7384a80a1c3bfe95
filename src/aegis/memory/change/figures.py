"""What a change of the embedding model looks like from outside: plan, status, check, models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from aegis.memory.advice import Interval
    from aegis.memory.store.registry import ModelState

__all__ = [
    "PHASES",
    "ChangePlan",
    "ChangeStatus",
    "ListedModel",
    "Phase",
    "RecallCheck",
    "SpaceRecall",
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
