"""What memory is made of. Field = column of the seed's table, plus the additive ones of ours.

`Literal` types equal the enum or CHECK in the schema; a test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

__all__ = [
    "FACT_ACTIONS",
    "FEEDBACK",
    "IMPORTANCE",
    "METRICS",
    "MODES",
    "ON_CONFLICT",
    "OUTCOMES",
    "ROLES",
    "ContextBlock",
    "Decision",
    "DecisionEpisode",
    "Episode",
    "EpisodeFilter",
    "Fact",
    "FactAction",
    "FactSource",
    "FactStep",
    "Feedback",
    "Hit",
    "Hits",
    "Importance",
    "Metric",
    "Mode",
    "NewDecision",
    "NewEpisode",
    "NewFact",
    "OnConflict",
    "Outcome",
    "Role",
    "ScorePart",
]

Importance = Literal["low", "medium", "high", "critical"]
Outcome = Literal["pending", "success", "partial", "failure"]
Feedback = Literal["positive", "negative", "neutral"]
#: What an episode was to a decision: it made it necessary, spoke for or against what was chosen,
#: or was merely known.
Role = Literal["trigger", "support", "against", "context"]
#: How `recall` finds: all arms fused, vectors alone, words alone, or newest first.
Mode = Literal["hybrid", "vector", "text", "time"]
#: Distance of the vector mode, the seed's operators `<=>`, `<->` and `<#>`.
Metric = Literal["cosine", "l2", "inner_product"]
#: What to do with a fact that contradicts known ones: they end where it begins, all of them hold,
#: or it is not recorded.
OnConflict = Literal["supersede", "keep_both", "refuse"]
#: A step in the life of a fact.
FactAction = Literal["created", "merged", "superseded", "updated", "restored", "deleted"]

IMPORTANCE: tuple[Importance, ...] = ("low", "medium", "high", "critical")
OUTCOMES: tuple[Outcome, ...] = ("pending", "success", "partial", "failure")
FEEDBACK: tuple[Feedback, ...] = ("positive", "negative", "neutral")
ROLES: tuple[Role, ...] = ("trigger", "support", "against", "context")
MODES: tuple[Mode, ...] = ("hybrid", "vector", "text", "time")
METRICS: tuple[Metric, ...] = ("cosine", "l2", "inner_product")
ON_CONFLICT: tuple[OnConflict, ...] = ("supersede", "keep_both", "refuse")
FACT_ACTIONS: tuple[FactAction, ...] = (
    "created",
    "merged",
    "superseded",
    "updated",
    "restored",
    "deleted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpisode:
    """An episode to be recorded; only `event_type` and `summary` are required."""

    #: 1 to 100 characters, such as `task_complete`, `decision`, `error`, `learning`, `milestone`.
    event_type: str
    #: What happened, in words; this is what recall searches.
    summary: str
    #: When it happened, with a time zone; now if None.
    timestamp: datetime | None = None
    details: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    importance: Importance = "medium"
    tags: Sequence[str] = ()
    related_memories: Sequence[int] = ()
    decision: str | None = None
    metadata: Mapping[str, Any] | None = None
    #: Memories of different agents or users never meet; None is the client's namespace.
    namespace: str | None = None
    #: Conversation or run that the episode belongs to; neighbours in it give it context.
    session_id: str | None = None
    #: The source's own key, such as `git:<sha>`; recording it twice in a namespace is one episode.
    source_id: str | None = None
    #: A vector of the caller's own; then `embedding_model` must say whose. Usually None.
    embedding: Sequence[float] | None = None
    embedding_model: str | None = None
    #: `source_id`s of related episodes of the namespace, turned into `related_memories` when it is
    #: recorded; those that are neither there nor recorded with it are left out. Bulk only.
    related_sources: Sequence[str] = ()
    #: When it was first recorded and last changed, where it comes from an export. Bulk only.
    created_at: datetime | None = None
    updated_at: datetime | None = None
    #: From when on it is forgotten: not recalled, and swept away. A policy of the namespace decides
    #: if None; `ttl` says the same from its recording on: a `timedelta`, or a text such as `30d`.
    expires_at: datetime | None = None
    ttl: timedelta | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A recorded episode (`episodic_memory`)."""

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
    #: Model of the stored vector; None while it has none, or where it is not known.
    embedding_model: str | None
    #: Whether a vector is stored.
    embedded: bool
    created_at: datetime
    updated_at: datetime | None
    #: From when on it is not recalled and may be swept away; None for never.
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeFilter:
    """Which episodes; every condition given must hold."""

    namespace: str | None = None
    session_id: str | None = None
    #: From this time on, inclusive.
    since: datetime | None = None
    #: Before this time, exclusive.
    until: datetime | None = None
    event_types: Sequence[str] = ()
    #: All of these tags.
    tags: Sequence[str] = ()
    #: At least this important.
    min_importance: Importance | None = None
    #: Only what has not expired; None asks for all, which is quicker where nothing has.
    alive: Literal[True] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePart:
    """One arm's share of a result's score."""

    #: `words`, `vector`, `context`, `length`, `time`, `recency`, `importance`, `rerank` or `fill`.
    arm: str
    #: Share of the final score, in the score's own unit.
    score: float
    #: Rank within the arm, from 1; None where the arm does not rank.
    rank: int | None = None
    #: What it rests on: the words that matched, the similarity, the question's time, the age.
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result of `recall`: the memory, its score, and why."""

    episode: Episode
    #: Higher is better; comparable within one answer only.
    score: float
    parts: list[ScorePart] = field(default_factory=list[ScorePart])
    #: The parts in one sentence: which arm found it, at which rank, by which words; date,
    #: importance.
    why: str = ""


class Hits(list[Hit]):
    """Results of `recall`, best first: a list that also says what went wrong on the way."""

    __slots__ = ("warnings",)

    def __init__(self, hits: Iterable[Hit] = (), *, warnings: Sequence[str] = ()) -> None:
        super().__init__(hits)
        #: What the answer had to do without, a sentence each; empty when all went well.
        self.warnings = list(warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextBlock:
    """Recalled memories as text for a prompt (`Memory.context`)."""

    #: A line a memory, the most useful first: `[e123 2026-05-03 error] …`; empty for none.
    text: str
    #: About how many tokens `text` is, rather too many than too few; never above the budget.
    tokens: int
    budget_tokens: int
    #: Ids of the memories in `text`, in its order.
    ids: list[int]
    #: Ids of those that fit the question and for which there was no room.
    left_out: list[int]
    #: What the answer had to do without, a sentence each; empty when all went well.
    warnings: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFact:
    """A fact to be remembered (`semantic_memory`)."""

    #: What it is about, 1 to 200 characters.
    concept: str
    content: str
    category: str | None = None
    source: str | None = None
    #: 0 to 1.
    confidence: float = 1.0
    metadata: Mapping[str, Any] | None = None
    tags: Sequence[str] = ()
    namespace: str | None = None
    source_id: str | None = None
    #: When it was first recorded and last changed, where it comes from an export.
    created_at: datetime | None = None
    updated_at: datetime | None = None
    #: From when on it holds in the world, inclusive; since always if None.
    valid_from: datetime | None = None
    #: Until when, exclusive; no end is known if None.
    valid_to: datetime | None = None
    #: From when on it is forgotten, and `ttl` for the same from its recording on (`NewEpisode`).
    expires_at: datetime | None = None
    ttl: timedelta | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A remembered fact (`semantic_memory`)."""

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
    #: From when on it holds in the world, inclusive; since always if None.
    valid_from: datetime | None
    #: Until when, exclusive; no end is known if None.
    valid_to: datetime | None
    #: Id of the fact that holds from `valid_to` on; it may have been deleted since.
    superseded_by: int | None
    #: Since when it is believed.
    created_at: datetime
    updated_at: datetime
    #: From when on it is not recalled and may be swept away; None for never.
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactStep:
    """One step in the life of a fact (`fact_history`)."""

    #: Later steps of a fact have higher ones.
    id: int
    fact_id: int
    namespace: str
    action: FactAction
    #: The row before the step, without its vector; None where there was none.
    before: dict[str, Any] | None
    at: datetime
    #: Who did it, as the caller said.
    actor: str | None
    #: The step that this one takes back.
    undoes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSource:
    """Who said a fact (`fact_sources`; of a fact said once, the fact itself)."""

    source: str | None
    source_id: str | None
    #: The words in which it was said.
    content: str
    #: 0 to 1, as the source has it.
    confidence: float
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEpisode:
    """An episode that led to a decision (`decision_episodes`)."""

    episode_id: int
    role: Role = "context"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDecision:
    """A decision to be recorded, with the options that there were."""

    task_context: str
    #: At least one, with `chosen_option` among them; a name, or an object with `name` or `option`.
    alternatives: Sequence[Any]
    chosen_option: str
    reasoning: str
    #: The episode that the decision belongs to, if there is one.
    episode_id: int | None = None
    namespace: str | None = None
    #: How likely success seems, 0 to 1.
    confidence: float | None = None
    #: When the outcome ought to be known, with a time zone.
    review_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A recorded decision (`decision_outcomes`)."""

    id: int
    namespace: str
    #: The seed's `decision_id`: the episode that it belongs to.
    episode_id: int | None
    task_context: str
    alternatives: Any
    chosen_option: str
    reasoning: str
    outcome_status: Outcome
    outcome_details: dict[str, Any] | None
    lessons_learned: str | None
    user_feedback: Feedback | None
    #: How likely success seemed when it was decided, 0 to 1; None where nobody said.
    confidence: float | None
    #: When the outcome ought to be known; None where nobody said.
    review_at: datetime | None
    #: What led to it, by id.
    episodes: list[DecisionEpisode]
    created_at: datetime
    resolved_at: datetime | None
