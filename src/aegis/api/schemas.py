"""The bodies of requests. Shapes only: what a value may be is the domain's to say, in its words.

That way every face refuses a value with the same line.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from aegis.api.shapes import Body
from aegis.errors import InvalidInput
from aegis.memory.models import (
    FEEDBACK,
    IMPORTANCE,
    METRICS,
    MODES,
    ON_CONFLICT,
    OUTCOMES,
    ROLES,
)
from aegis.memory.validate import parse_time

__all__ = [
    "AdviceBody",
    "ConsolidationBody",
    "ContextBody",
    "DecisionBody",
    "DecisionChanges",
    "EpisodeBatch",
    "EpisodeBody",
    "EpisodeChanges",
    "FactBody",
    "FactChanges",
    "FactQuestionBody",
    "OptionalTime",
    "OutcomeBody",
    "QuestionBody",
    "RecallBody",
    "RepairBody",
    "RestoreBody",
    "Time",
    "UndoBody",
]


def _time(value: Any, info: ValidationInfo) -> datetime | None:
    name = info.field_name
    if value is None:
        return None
    if name is None:
        # Of a query: its name is known further up, where the place is added.
        try:
            return parse_time("it", value)
        except InvalidInput as error:
            why = error.message.removesuffix(".")
            raise PydanticCustomError("time", "{why}", {"why": why}) from None
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is {value!r}; write a time such as 2026-05-01T09:00:00+00:00.")
    return parse_time(name, value)


def _choice(choices: tuple[str, ...]) -> Any:
    return Field(json_schema_extra={"enum": list(choices)})


#: ISO 8601 with a zone.
Time = Annotated[datetime, BeforeValidator(_time)]
OptionalTime = Annotated[datetime | None, BeforeValidator(_time)]
ImportanceText = Annotated[str, _choice(IMPORTANCE)]
JsonObject = dict[str, Any]


class EpisodeBody(Body):
    """An episode to record."""

    event_type: str = Field(description="What kind, such as task_complete, decision or error.")
    summary: str = Field(description="What happened, in words; this is what recall searches.")
    timestamp: OptionalTime = Field(None, description="When it happened; now if left out.")
    details: JsonObject | None = None
    context: JsonObject | None = None
    importance: ImportanceText = "medium"
    tags: list[str] = Field(default_factory=list[str])
    related_memories: list[int] = Field(default_factory=list[int])
    decision: str | None = None
    metadata: JsonObject | None = None
    namespace: str | None = None
    session_id: str | None = None
    source_id: str | None = Field(None, description="The source's key; recorded once.")
    embedding: list[float] | None = None
    embedding_model: str | None = None
    expires_at: OptionalTime = Field(None, description="When it is forgotten; never if left out.")
    ttl: str | None = Field(None, description="The same from now on, such as 30d.")


class EpisodeBatch(Body):
    """Episodes to record in the order given, each batch of 500 in one transaction."""

    episodes: list[EpisodeBody]
    embed: bool = Field(True, description="False leaves the vectors to the backfill.")


class EpisodeChanges(Body):
    """Fields of an episode to change; what is not named stays."""

    timestamp: OptionalTime = None
    event_type: str | None = None
    summary: str | None = None
    details: JsonObject | None = None
    context: JsonObject | None = None
    importance: Annotated[str | None, _choice(IMPORTANCE)] = None
    tags: list[str] | None = None
    related_memories: list[int] | None = None
    decision: str | None = None
    metadata: JsonObject | None = None
    session_id: str | None = None
    expires_at: OptionalTime = None


class RecallBody(Body):
    """What to look for among the episodes."""

    query: str | None = None
    k: int = Field(10, description="How many to return.")
    mode: Annotated[str, _choice(MODES)] = "hybrid"
    metric: Annotated[str, _choice(METRICS)] = "cosine"
    vector: list[float] | None = None
    namespace: str | None = None
    session_id: str | None = None
    since: OptionalTime = None
    until: OptionalTime = None
    event_types: list[str] = Field(default_factory=list[str])
    tags: list[str] = Field(default_factory=list[str])
    min_importance: Annotated[str | None, _choice(IMPORTANCE)] = None
    asked_at: OptionalTime = Field(
        None, description="When it is asked, for times such as last May; now if left out."
    )


class ContextBody(RecallBody):
    """What to look for among the episodes, and how much room there is in the prompt."""

    k: int = Field(50, description="How many memories to look at.")
    budget_tokens: int = Field(2_000, description="The text is never longer than this.")


class FactBody(Body):
    """A fact to remember."""

    concept: str
    content: str
    category: str | None = None
    source: str | None = None
    confidence: float = Field(1.0, description="0 to 1.")
    metadata: JsonObject | None = None
    tags: list[str] = Field(default_factory=list[str])
    namespace: str | None = None
    source_id: str | None = None
    valid_from: OptionalTime = Field(None, description="Since when it holds; always if left out.")
    expires_at: OptionalTime = Field(None, description="When it is forgotten; never if left out.")
    ttl: str | None = Field(None, description="The same from now on, such as 30d.")
    on_conflict: Annotated[str, _choice(ON_CONFLICT)] = "supersede"


class FactChanges(Body):
    """Fields of a fact to change; what is not named stays."""

    concept: str | None = None
    content: str | None = None
    category: str | None = None
    source: str | None = None
    confidence: float | None = None
    metadata: JsonObject | None = None
    tags: list[str] | None = None
    expires_at: OptionalTime = None


class FactQuestionBody(Body):
    """What to look for among facts."""

    query: str
    k: int = 10
    namespace: str | None = None
    as_of: OptionalTime = Field(None, description="As it was believed at this time.")
    valid_at: OptionalTime = Field(None, description="What holds at this time.")


class UndoBody(Body):
    """Which step of a fact to take back."""

    step: int | None = Field(None, description="The step that has to be the last one.")


class QuestionBody(Body):
    """What to look for among decisions."""

    query: str
    k: int = 10
    namespace: str | None = None


class DecisionBody(Body):
    """A decision to record, with the options that there were."""

    task_context: str
    alternatives: list[Any]
    chosen_option: str
    reasoning: str
    episode_id: int | None = None
    confidence: float | None = Field(None, description="How likely success seems, 0 to 1.")
    review_at: OptionalTime = Field(None, description="When the outcome ought to be known.")
    episodes: list[Any] = Field(
        default_factory=list[Any],
        description="What led to it: ids, or objects with episode_id and role "
        f"({', '.join(ROLES)}).",
    )
    namespace: str | None = None


class AdviceBody(Body):
    """What is to be decided now, and between which options."""

    question: str
    options: list[str] | None = Field(None, description="Those chosen before if left out.")
    k: int = Field(20, description="How many decisions to compare at most.")
    min_similarity: float = Field(0.3, description="Leave out what is less alike, 0 to 1.")
    namespace: str | None = None


class OutcomeBody(Body):
    """How a decision turned out."""

    outcome: Annotated[str, _choice(OUTCOMES[1:])]
    details: JsonObject | None = None
    lessons: str | None = None
    feedback: Annotated[str | None, _choice(FEEDBACK)] = None


class DecisionChanges(Body):
    """Fields of a decision to change; what was chosen and how it ended stay."""

    task_context: str | None = None
    reasoning: str | None = None
    lessons_learned: str | None = None
    user_feedback: Annotated[str | None, _choice(FEEDBACK)] = None
    outcome_details: JsonObject | None = None
    review_at: OptionalTime = None


class ConsolidationBody(Body):
    """Which episodes to consolidate."""

    dry_run: bool = Field(False, description="Write nothing; return what would be proposed.")
    since: OptionalTime = Field(None, description="All from this time on, seen before or not.")
    namespace: str | None = None


class RepairBody(Body):
    """What to repair."""

    kind: str = Field(description="Id of the check.")
    way: str | None = Field(
        None,
        description="decisions_open: remind or close; facts_expired: follow or archive. "
        "The first if left out.",
    )
    namespace: str | None = Field(None, description="This one only; all if left out.")
    dry_run: bool = Field(True, description="False does it.")


class RestoreBody(Body):
    """What to put back: entries by number, or all of a kind."""

    entries: list[int] = Field(default_factory=list[int])
    kind: str | None = None
    namespace: str | None = None
