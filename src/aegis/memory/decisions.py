"""Decisions and how they turned out (`decision_outcomes`).

A decision belongs to an episode, which is what recall finds; one that names none gets its own, of
type `decision`, in the same transaction. An outcome is recorded once. What decisions teach is
worked out in `advice` and `calibration`, which are pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from aegis.errors import Conflict, NotFound
from aegis.memory import validate
from aegis.memory.advice import Candidate, weigh
from aegis.memory.calibration import calibrate
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.links import check_options, check_share, decision_episodes
from aegis.memory.models import FEEDBACK, OUTCOMES, NewDecision, NewEpisode
from aegis.memory.store import decisions as store
from aegis.memory.store import episodes as episode_store
from aegis.memory.store import reviews
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Database
    from aegis.memory.advice import Advice
    from aegis.memory.calibration import Calibration
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Decision, DecisionEpisode, Feedback, Hit, Mode, Outcome

    class Recall(Protocol):
        """`Memory.recall`, as far as decisions need it."""

        async def __call__(
            self,
            query: str | None = None,
            *,
            k: int = 10,
            mode: Mode = "hybrid",
            vector: Sequence[float] | None = None,
            namespace: str | None = None,
            event_types: Sequence[str] = (),
        ) -> list[Hit]: ...


__all__ = ["DecisionHit", "Decisions"]

MAX_PAGE = 1_000
MAX_QUESTION = 20_000
#: Of the built-in model: what is about the same is at 0.3 and above, what has nothing to do with
#: it at 0.2 and below. Of words: one in three or so.
MIN_SIMILARITY = 0.3
#: A decision that nobody said when to look at again is looked at after two weeks.
DUE_DAYS = 14
MAX_DAYS = 36_500
MAX_BINS = 50
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
        async with audited(self._db) as conn:
            if await store.delete_decision(conn, decision_id, namespace=place) == 0:
                raise NotFound(f"There is no decision {decision_id} in namespace {place!r}.")
            note(conn, "memory.delete", "decision", decision_id, namespace=Private(place))

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

    async def advise(
        self,
        question: str,
        *,
        options: Sequence[str] | None = None,
        k: int = 20,
        min_similarity: float = MIN_SIMILARITY,
        namespace: str | None = None,
    ) -> Advice:
        """Return how options fared in the up to `k` most similar decisions.

        Without `options` it is about those that were chosen there. Options that differ in case,
        spaces and punctuation are one. Where no decision is as alike as `min_similarity` asks,
        the answer says so and nothing else.

        Raises:
            InvalidInput: the question is empty, or a value is out of range.
        """
        validate.check_text("question", question, most=MAX_QUESTION)
        check_options(options)
        check_share("min_similarity", min_similarity)
        validate.check_limit("k", k, most=MAX_PAGE)
        place = validate.namespace_of(namespace, self.namespace)
        vectors, model = await embed_or_none(self._embedder, [question])
        # The one vector serves both the search and the comparison of what it finds.
        vector: list[float] | None = None if vectors[0] is None else json.loads(vectors[0])
        hits = await self._recall(
            question,
            k=k,
            mode="text" if vector is None else "hybrid",
            vector=vector,
            namespace=place,
            event_types=[EVENT_TYPE],
        )
        ids = [hit.episode.id for hit in hits]
        async with self._db.transaction() as conn:
            found = await store.list_decisions_of_episodes(conn, ids, namespace=place)
            alike = await reviews.list_similarities(
                conn, ids, question=question, vector=vectors[0], embedding_model=model
            )
        candidates = [
            Candidate(decision=d, similarity=alike[d.episode_id])
            for d in found
            if d.episode_id in alike
        ]
        return weigh(question, candidates, options=options, min_similarity=min_similarity)

    async def calibration(self, *, bins: int = 10, namespace: str | None = None) -> Calibration:
        """Return how far the confidence of resolved decisions was borne out (`InvalidInput`)."""
        validate.check_limit("bins", bins, most=MAX_BINS)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            stated = await reviews.list_stated(conn, namespace=place)
        return calibrate(stated, bins=bins)

    async def due(
        self,
        *,
        days: int = DUE_DAYS,
        limit: int = 50,
        after: tuple[datetime, int] | None = None,
        namespace: str | None = None,
    ) -> builtins.list[Decision]:
        """Return decisions that wait for their outcome though it ought to be known, oldest first.

        That is those whose `review_at` has passed, and those without one that are `days` old.
        `after` is the (`review_at`, else `created_at`; id) of the last decision of the page before.
        """
        validate.check_limit("days", days, most=MAX_DAYS)
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if after is not None:
            validate.check_time("after", after[0])
            validate.check_id("after", after[1])
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await reviews.list_due(
                conn, namespace=place, days=days, after=after, limit=limit
            )


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
