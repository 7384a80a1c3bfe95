"""The answers, as OpenAPI describes them. A test holds them against the domain's models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aegis.api.shapes import Answer
from aegis.memory.models import FactAction, Feedback, Importance, Outcome, Role

__all__ = [
    "Advice",
    "Calibration",
    "ContextBlock",
    "Decision",
    "DecisionHits",
    "DecisionPage",
    "Episode",
    "EpisodePage",
    "Fact",
    "FactHits",
    "FactPage",
    "FactSources",
    "FactSteps",
    "Hits",
    "Problem",
    "Recorded",
]


class Episode(Answer):
    """A recorded episode."""

    id: int
    namespace: str
    session_id: str | None
    timestamp: datetime
    event_type: str
    summary: str
    details: dict[str, Any] | None
    context: dict[str, Any] | None
    importance: Importance
    tags: list[str]
    related_memories: list[int]
    decision: str | None
    metadata: dict[str, Any] | None
    source_id: str | None
    embedding_model: str | None
    embedded: bool
    created_at: datetime
    updated_at: datetime | None
    expires_at: datetime | None


class EpisodePage(Answer):
    """A page of episodes, newest first."""

    items: list[Episode]
    next_cursor: str | None


class Recorded(Answer):
    """What became of a batch."""

    ids: list[int]
    skipped: int
    embedded: int


class ScorePart(Answer):
    """One arm's share of a result's score."""

    arm: str
    score: float
    rank: int | None
    detail: str | None


class Hit(Answer):
    """One result: the episode, its score, its parts, and the same in a sentence."""

    episode: Episode
    score: float
    parts: list[ScorePart]
    why: str


class Hits(Answer):
    """Results, best first, and what the answer had to do without."""

    results: list[Hit]
    warnings: list[str]


class ContextBlock(Answer):
    """Recalled memories as text for a prompt: a line each, within the budget."""

    text: str
    tokens: int
    budget_tokens: int
    ids: list[int]
    left_out: list[int]
    warnings: list[str]


class Fact(Answer):
    """A remembered fact."""

    id: int
    namespace: str
    concept: str
    content: str
    category: str | None
    source: str | None
    confidence: float
    metadata: dict[str, Any] | None
    tags: list[str]
    source_id: str | None
    embedding_model: str | None
    embedded: bool
    valid_from: datetime | None
    valid_to: datetime | None
    superseded_by: int | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


class FactPage(Answer):
    """A page of facts, last updated first."""

    items: list[Fact]
    next_cursor: str | None


class FactHit(Answer):
    """One result: the fact and both parts of its score."""

    fact: Fact
    score: float
    similarity: float
    word_rank: float


class FactHits(Answer):
    """Results, best first."""

    results: list[FactHit]


class FactStep(Answer):
    """One step in the life of a fact."""

    id: int
    fact_id: int
    namespace: str
    action: FactAction
    before: dict[str, Any] | None
    at: datetime
    actor: str | None
    undoes: int | None


class FactSteps(Answer):
    """Steps of a fact, the last one first."""

    items: list[FactStep]


class FactSource(Answer):
    """Who said a fact."""

    source: str | None
    source_id: str | None
    content: str
    confidence: float
    recorded_at: datetime


class FactSources(Answer):
    """Who said a fact, the first one first."""

    items: list[FactSource]


class DecisionEpisode(Answer):
    """An episode that led to a decision."""

    episode_id: int
    role: Role


class Decision(Answer):
    """A recorded decision."""

    id: int
    namespace: str
    episode_id: int | None
    task_context: str
    alternatives: Any
    chosen_option: str
    reasoning: str
    outcome_status: Outcome
    outcome_details: dict[str, Any] | None
    lessons_learned: str | None
    user_feedback: Feedback | None
    confidence: float | None
    review_at: datetime | None
    episodes: list[DecisionEpisode]
    created_at: datetime
    resolved_at: datetime | None


class DecisionPage(Answer):
    """A page of decisions, newest first."""

    items: list[Decision]
    next_cursor: str | None


class DecisionHit(Answer):
    """One result: the decision and the recalled episode behind it."""

    decision: Decision
    hit: Hit


class DecisionHits(Answer):
    """Results, best first."""

    results: list[DecisionHit]


class Interval(Answer):
    """Where the true rate lies, with 95 % confidence."""

    low: float
    high: float


class WeightedRate(Answer):
    """The success rate with every decision counted by its similarity."""

    success_rate: float
    sample: float


class Lesson(Answer):
    """What was learned from one decision, or said about it."""

    decision_id: int
    outcome_status: Outcome
    lessons_learned: str | None
    user_feedback: Feedback | None


class OptionRecord(Answer):
    """How one option fared in the similar decisions."""

    option: str
    offered: int
    chosen: int
    success: int
    partial: int
    failure: int
    pending: int
    resolved: int
    success_rate: float | None
    interval: Interval | None
    weighted: WeightedRate | None
    lessons: list[Lesson]
    decision_ids: list[int]
    episode_ids: list[int]


class Precedent(Answer):
    """A similar decision that the advice rests on."""

    decision_id: int
    episode_id: int | None
    similarity: float
    task_context: str
    chosen_option: str
    outcome_status: Outcome


class Advice(Answer):
    """What similar decisions say about a question."""

    question: str
    summary: str
    considered: int
    min_similarity: float
    options: list[OptionRecord]
    others: list[OptionRecord]
    precedents: list[Precedent]


class CalibrationBin(Answer):
    """The decisions whose confidence is from `low` to below `high`."""

    low: float
    high: float
    decisions: int
    successes: int
    mean_confidence: float
    success_share: float
    interval: Interval


class Calibration(Answer):
    """Stated confidence against what came of it."""

    summary: str
    decisions: int
    successes: int
    partials: int
    mean_confidence: float | None
    success_share: float | None
    interval: Interval | None
    brier_score: float | None
    expected_calibration_error: float | None
    bins: list[CalibrationBin]


class FieldError(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Answer):
    """An error (RFC 9457); `code` is stable."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = []  # noqa: RUF012 (pydantic copies it)
    request_id: str | None = None
