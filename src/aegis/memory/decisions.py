"""Decisions and how they turned out (`decision_outcomes`).

A decision belongs to an episode, which is what recall finds; one that names none gets its own, of
type `decision`, in the same transaction. An outcome is recorded once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from aegis.errors import Conflict, NotFound
from aegis.memory import validate
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.links import decision_episodes
from aegis.memory.models import FEEDBACK, OUTCOMES, NewDecision, NewEpisode
from aegis.memory.store import decisions as store
from aegis.memory.store import episodes as episode_store

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Decision, DecisionEpisode, Feedback, Hit, Outcome

    class Recall(Protocol):
        """`Memory.recall`, as far as decisions need it."""

        async def __call__(
            self,
            query: str | None = None,
            *,
            k: int = 10,
            namespace: str | None = None,
            event_types: Sequence[str] = (),
        ) -> list[Hit]: ...


__all__ = ["DecisionHit", "Decisions"]

MAX_PAGE = 1_000
EVENT_TYPE = "decision"
_UPDATABLE = frozenset(
    {
        "task_context",
        "reasoning",
        "lessons_learned",
        "user_feedback",
        "outcome_details",
        "review_at",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionHit:
    """One result of `Decisions.recall`: the decision and the recalled episode behind it."""

    decision: Decision
    hit: Hit


class Decisions:
    """Decisions of one client; `namespace` is where a call that names none goes."""

    def __init__(
        self, db: Database, embedder: Embedder | None, *, namespace: str, recall: Recall
    ) -> None:
        self._db = db
        self._embedder = embedder
        self._recall = recall
        self.namespace = namespace

    async def record(
        self,
        task_context: str,
        *,
        alternatives: Sequence[Any],
        chosen_option: str,
        reasoning: str,
        episode_id: int | None = None,
        confidence: float | None = None,
        review_at: datetime | None = None,
        episodes: Sequence[DecisionEpisode | Mapping[str, Any] | int] = (),
        namespace: str | None = None,
    ) -> Decision:
        """Record a decision, pending; without `episode_id` an episode is recorded with it.

        `confidence` is how likely success seems, `review_at` when the outcome ought to be known,
        `episodes` what led to it: ids, or objects with `episode_id` and `role`.

        Raises:
            InvalidInput: no alternatives, the chosen option is not among them, or a value is out
                of range.
            NotFound: there is no such episode in the namespace.
        """
        decision = NewDecision(
            task_context=task_context,
            alternatives=alternatives,
            chosen_option=chosen_option,
            reasoning=reasoning,
            episode_id=episode_id,
            namespace=namespace,
            confidence=confidence,
            review_at=review_at,
        )
        validate.check_decision(decision)
        links = decision_episodes(episodes)
        place = validate.namespace_of(namespace, self.namespace)
        episode = _episode_of(decision)
        vectors, model = [None], None
        if episode_id is None:
            vectors, model = await embed_or_none(self._embedder, [episode.summary])
        async with self._db.transaction() as conn:
            if episode_id is not None:
                await episode_store.get_episode(conn, episode_id, namespace=place)
            else:
                stored = await episode_store.insert_episode(
                    conn, episode, namespace=place, vector=vectors[0], embedding_model=model
                )
                episode_id = None if stored is None else stored.id
            made = await store.insert_decision(
                conn, decision, namespace=place, episode_id=episode_id
            )
            if links:
                await store.link_episodes(conn, made.id, links, namespace=place)
        return replace(made, episodes=links)

    async def resolve(
        self,
        decision_id: int,
        outcome: Outcome,
        *,
        details: Mapping[str, Any] | None = None,
        lessons: str | None = None,
        feedback: Feedback | None = None,
        namespace: str | None = None,
    ) -> Decision:
        """Record how a pending decision turned out.

        Raises:
            InvalidInput: an unknown outcome or feedback.
            NotFound: there is no such decision.
            Conflict: it has an outcome already.
        """
        validate.check_id("id", decision_id)
        validate.check_outcome(outcome, feedback)
        validate.check_json_object("details", details)
        if lessons is not None:
            validate.check_text("lessons", lessons, most=validate.MAX_SUMMARY)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            resolved = await store.resolve_decision(
                conn,
                decision_id,
                namespace=place,
                status=outcome,
                details=details,
                lessons=lessons,
                feedback=feedback,
            )
            if resolved is None:
                existing = await store.get_decision(conn, decision_id, namespace=place)
                raise Conflict(
                    f"Decision {decision_id} was resolved as {existing.outcome_status!r} already; "
                    "an outcome is recorded once.",
                    code="decision_resolved",
                )
        return resolved

    async def get(self, decision_id: int, *, namespace: str | None = None) -> Decision:
        """Return one decision (`NotFound`)."""
        validate.check_id("id", decision_id)
        async with self._db.transaction() as conn:
            return await store.get_decision(
                conn, decision_id, namespace=validate.namespace_of(namespace, self.namespace)
            )

    async def list(
        self,
        *,
        outcome: Outcome | None = None,
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
    ) -> builtins.list[Decision]:
        """Return decisions, newest first."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if outcome is not None:
            validate.check_choice("outcome", outcome, OUTCOMES)
        async with self._db.transaction() as conn:
            return await store.list_decisions(
                conn,
                namespace=validate.namespace_of(namespace, self.namespace),
                outcome=outcome,
                limit=limit,
                offset=offset,
            )

    async def update(
        self, decision_id: int, *, namespace: str | None = None, **changes: Any
    ) -> Decision:
        """Change fields of a decision and return it; what was chosen and how it ended stay.

        So does the confidence: put right afterwards, it would say nothing. Lessons and feedback
        may come at any time.

        Raises:
            InvalidInput: a field is unknown or its value cannot be accepted.
            NotFound: the namespace has none of this id.
        """
        validate.check_id("id", decision_id)
        validate.check_changes(changes, _UPDATABLE)
        for name in ("task_context", "reasoning", "lessons_learned"):
            if name in changes:
                validate.check_text(name, changes[name], most=validate.MAX_SUMMARY)
        validate.check_json_object("outcome_details", changes.get("outcome_details"))
        if changes.get("user_feedback") is not None:
            validate.check_choice("user_feedback", changes["user_feedback"], FEEDBACK)
        if changes.get("review_at") is not None:
            validate.check_time("review_at", changes["review_at"])
        async with self._db.transaction() as conn:
            return await store.update_decision(
                conn,
                decision_id,
                changes,
                namespace=validate.namespace_of(namespace, self.namespace),
            )

    async def delete(self, decision_id: int, *, namespace: str | None = None) -> None:
        """Delete one decision; its episode stays (`NotFound`)."""
        validate.check_id("id", decision_id)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            if await store.delete_decision(conn, decision_id, namespace=place) == 0:
                raise NotFound(f"There is no decision {decision_id} in namespace {place!r}.")

    async def recall(
        self, query: str, *, k: int = 10, namespace: str | None = None
    ) -> builtins.list[DecisionHit]:
        """Return the `k` decisions whose episodes answer `query` best."""
        place = validate.namespace_of(namespace, self.namespace)
        hits = await self._recall(query, k=k, namespace=place, event_types=[EVENT_TYPE])
        by_episode = {hit.episode.id: hit for hit in hits}
        async with self._db.transaction() as conn:
            found = await store.list_decisions_of_episodes(conn, list(by_episode), namespace=place)
        order = {episode: position for position, episode in enumerate(by_episode)}
        ranked = sorted(found, key=lambda d: order[d.episode_id or 0])
        return [DecisionHit(decision=d, hit=by_episode[d.episode_id or 0]) for d in ranked[:k]]


def _episode_of(decision: NewDecision) -> NewEpisode:
    names = validate.alternative_names(decision.alternatives)
    chosen = decision.chosen_option.strip()
    return NewEpisode(
        event_type=EVENT_TYPE,
        summary=f"{decision.task_context.strip()}: chose {chosen}. {decision.reasoning.strip()}",
        decision=chosen,
        importance="high",
        details={"alternatives": names},
    )
