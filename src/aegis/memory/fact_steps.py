"""What happens to facts, step by step: learning a new one, changing and deleting one, and undoing.

Invariant: a step and its row in `fact_history` are of one transaction, and undoing the last step
leaves exactly what was there before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, NotFound
from aegis.memory import belief
from aegis.memory.store import fact_history as history
from aegis.memory.store import fact_sources as origins
from aegis.memory.store import facts as store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.belief import Belief
    from aegis.memory.models import Fact, FactStep, NewFact, OnConflict

__all__ = ["change", "forget", "learn", "step_to_undo", "undo"]


async def learn(
    conn: Connection,
    fact: NewFact,
    *,
    namespace: str,
    vector: str | None,
    embedding_model: str | None,
    on_conflict: OnConflict,
    actor: str | None,
    stated: bool = True,
) -> Fact:
    """Merge a fact into the one that it repeats, or record it where it stands in time.

    `stated` says whether somebody said how sure it is; a repeat of which nobody says that, nor
    where it is from, adds nothing.

    Raises:
        Conflict: it contradicts a known fact, and `on_conflict` is `refuse`.
    """
    at = await history.lock_concept(conn, namespace, fact.concept, fact.source_id)
    if fact.source_id is not None:
        known = await store.find_fact_by_source(conn, namespace, fact.source_id)
        if known is not None:
            return known
    beliefs = await history.list_beliefs(
        conn,
        namespace=namespace,
        concept=fact.concept,
        content=fact.content,
        vector=vector,
        embedding_model=embedding_model,
    )
    repeated, rivals = _compare(fact, beliefs)
    same = next((b for b in repeated if _is_one_stretch(fact, b, at)), None)
    if same is not None:
        told = stated or fact.source is not None or fact.source_id is not None
        return await _merge(conn, same, fact, namespace=namespace, at=at, actor=actor, told=told)
    if rivals and on_conflict == "refuse":
        raise Conflict(
            f"The fact contradicts fact {rivals[0].id} ({_clip(rivals[0].content)}). Update that "
            "one, or record it with on_conflict supersede or keep_both.",
            code="fact_contradicts",
        )
    # What was true before, and is again, is another stretch of time of the same content.
    around = repeated if on_conflict == "keep_both" else [*repeated, *rivals]
    placed = belief.place(fact.valid_from, at, around)
    stored = await store.insert_fact(
        conn,
        replace(fact, valid_from=placed.valid_from, valid_to=placed.valid_to),
        namespace=namespace,
        vector=vector,
        embedding_model=embedding_model,
        at=at,
        superseded_by=placed.superseded_by,
    )
    if stored is None:
        raise Conflict(f"Fact {fact.source_id!r} was recorded by an import meanwhile. Try again.")
    await history.add_step(conn, stored.id, "created", namespace=namespace, at=at, actor=actor)
    for shift in placed.shifts:
        action = "superseded" if shift.superseded else "updated"
        await history.add_step(conn, shift.id, action, namespace=namespace, at=at, actor=actor)
        by = stored.id if shift.superseded else None
        await history.shift_fact(conn, shift, superseded_by=by, at=at)
    return stored


async def change(
    conn: Connection,
    fact_id: int,
    changes: Mapping[str, Any],
    *,
    namespace: str,
    actor: str | None,
) -> Fact:
    """Set columns of a fact (`NotFound`)."""
    at = await history.lock_fact(conn, fact_id, namespace=namespace)
    await store.get_fact(conn, fact_id, namespace=namespace)
    await history.add_step(conn, fact_id, "updated", namespace=namespace, at=at, actor=actor)
    return await store.update_fact(conn, fact_id, changes, namespace=namespace)


async def forget(conn: Connection, fact_id: int, *, namespace: str, actor: str | None) -> None:
    """Delete a fact (`NotFound`)."""
    at = await history.lock_fact(conn, fact_id, namespace=namespace)
    await store.get_fact(conn, fact_id, namespace=namespace)
    await history.add_step(conn, fact_id, "deleted", namespace=namespace, at=at, actor=actor)
    await store.delete_fact(conn, fact_id, namespace=namespace)


async def undo(
    conn: Connection, fact_id: int, *, step: int | None, namespace: str, actor: str | None
) -> Fact:
    """Take back the last step of a fact that is not yet, which must be `step` if that is given.

    Raises:
        NotFound: the namespace never had such a fact, or the fact no such step.
        Conflict: there is nothing to take back, or `step` is not the next one.
    """
    at = await history.lock_fact(conn, fact_id, namespace=namespace)
    steps = await history.list_steps(conn, fact_id, namespace=namespace)
    last = step_to_undo(fact_id, steps, step)
    await history.add_step(
        conn, fact_id, "restored", namespace=namespace, at=at, actor=actor, undoes=last.id
    )
    if last.action == "merged":
        await origins.delete_sources_of_step(conn, last.id)
    if last.action == "deleted":
        fact = await history.put_back_deleted(conn, last.id)
    else:
        fact = await history.put_back(conn, last.id)
    if fact is None:
        raise Conflict(
            f"Fact {fact_id} cannot be put back: it was deleted without a step, or another fact "
            "has its source_id by now.",
            code="undo_blocked",
        )
    return fact


def step_to_undo(fact_id: int, steps: Sequence[FactStep], wanted: int | None) -> FactStep:
    """Return the step that is next to be undone; `steps` are those of a fact, the last one first.

    Raises:
        NotFound: the fact has no step `wanted`.
        Conflict: nothing is left, or `wanted` is undone already, or not the next one.
    """
    undone = {s.undoes for s in steps}
    left = [s for s in steps if s.action not in ("created", "restored") and s.id not in undone]
    if wanted is not None:
        asked = next((s for s in steps if s.id == wanted), None)
        if asked is None:
            raise NotFound(f"Fact {fact_id} has no step {wanted}.")
        if asked.id in undone:
            raise Conflict(f"Step {wanted} of fact {fact_id} is undone already.", code="undone")
        if asked.action in ("created", "restored"):
            raise Conflict(
                f"Step {wanted} of fact {fact_id} ({asked.action}) cannot be undone; "
                "to undo the creation of a fact, delete it.",
                code="undo_impossible",
            )
        if left[0].id != wanted:
            raise Conflict(
                f"Step {wanted} of fact {fact_id} has later ones; undo step {left[0].id} first.",
                code="undo_out_of_order",
            )
    if not left:
        raise Conflict(
            f"Fact {fact_id} has no step left to undo; delete it if it is not to be.",
            code="nothing_to_undo",
        )
    return left[0]


def _compare(fact: NewFact, beliefs: Sequence[Belief]) -> tuple[list[Belief], list[Belief]]:
    """Return the beliefs that a fact repeats and those that it contradicts."""
    repeated: list[Belief] = []
    rivals: list[Belief] = []
    for b in beliefs:
        match belief.relation(fact.concept, fact.content, b.content, similarity=b.similarity):
            case "repeats":
                repeated.append(b)
            case "contradicts":
                rivals.append(b)
            case _:
                pass
    return repeated, rivals


def _is_one_stretch(fact: NewFact, known: Belief, at: datetime) -> bool:
    """Return whether a repeat speaks of the same time in the world.

    One with a beginning of its own is a stretch of its own; otherwise what arrives later between
    the two would find them joined, and the order of arrival would matter.
    """
    if fact.valid_from is None:
        return belief.holds_at(known, at)
    if known.valid_from is None:
        return belief.holds_at(known, fact.valid_from)
    return known.valid_from == fact.valid_from and known.valid_to != known.valid_from


async def _merge(
    conn: Connection,
    known: Belief,
    fact: NewFact,
    *,
    namespace: str,
    at: datetime,
    actor: str | None,
    told: bool,
) -> Fact:
    """Keep the known fact, with the new one as a further source of it where that is news."""
    before = await store.get_fact(conn, known.id, namespace=namespace)
    sources = await origins.list_sources(conn, known.id)
    said = [
        belief.Said(source=s.source, content=s.content, confidence=s.confidence)
        for s in sources or [before]
    ]
    new = belief.Said(source=fact.source, content=fact.content, confidence=fact.confidence)
    # A beginning is news about a fact that had none, unless it was known before that.
    dated = known.valid_from is None and fact.valid_from and fact.valid_from <= known.recorded_at
    known_already = new in said and fact.source_id is None
    # What was recalled is often written back: it would make itself surer each time.
    if not dated and (known_already or not told):
        return before
    step = await history.add_step(conn, known.id, "merged", namespace=namespace, at=at, actor=actor)
    if not sources:
        await origins.add_source(
            conn,
            known.id,
            before,
            namespace=namespace,
            recorded_at=before.created_at,
            step=step,
        )
    await origins.add_source(conn, known.id, fact, namespace=namespace, recorded_at=at, step=step)
    return await history.set_merged(
        conn,
        known.id,
        confidence=belief.confidence_after(before.confidence, said, new),
        valid_from=fact.valid_from if dated else before.valid_from,
        at=at,
    )


def _clip(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:59]}…"
