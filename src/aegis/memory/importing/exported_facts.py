"""Facts as an export has them: with history and sources, whose ids are those of another database.

Invariant: a fact comes in with all of its history and its sources, in one transaction, or not.
Ids within a history (of the fact, its steps, its sources) become new ones; the facts that others
end with may come later in the file, and are linked at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.importing.fields import read_time
from aegis.memory.models import FACT_ACTIONS, NewFact
from aegis.memory.store import fact_transfer as store
from aegis.memory.store import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.embedding import Embedder

__all__ = ["ExportedFact", "SuccessorLinks", "check_exported", "read_exported", "record_exported"]

MAX_STEPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFact:
    """A fact of an export; `fact` is None for one that was deleted and left its history."""

    fact: NewFact | None
    #: Steps, the first one first: id, action, before, at, actor, undoes.
    history: Sequence[dict[str, Any]] = ()
    #: Sources, the first one first: source, source_id, content, confidence, recorded_at, step.
    sources: Sequence[dict[str, Any]] = ()
    #: The fact that holds after it, by its id in the exporting database.
    superseded_by: int | None = None
    embedding: Sequence[float] | None = None
    embedding_model: str | None = None


@dataclass(slots=True)
class SuccessorLinks:
    """What points at facts that may come later in the file."""

    #: (new id of a fact, old id of its successor).
    facts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    #: (new id of a fact, place in its history, old id of the successor in the row it keeps).
    steps: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])

    def note(self, fact_id: int, exported: ExportedFact) -> None:
        """Note what a fact and its history point at."""
        if exported.superseded_by is not None:
            self.facts.append((fact_id, exported.superseded_by))
        for place, step in enumerate(exported.history):
            before: dict[str, Any] = step["before"] or {}
            old = before.get("superseded_by")
            if isinstance(old, int):
                self.steps.append((fact_id, place, old))

    async def link(self, conn: Connection, find: Callable[[int], int | None]) -> int:
        """Link what is known by now and return how many facts point at one that is not there."""
        known = {new: to for new, old in self.facts if (to := find(old)) is not None}
        if known:
            await store.set_successors(conn, known)
        for fact_id, place, old in self.steps:
            successor = find(old)
            if successor is not None:
                await store.set_step_successor(conn, fact_id, place, successor)
        return len(self.facts) - len(known)


def read_exported(line: Mapping[str, Any], fact: NewFact | None) -> ExportedFact:
    """Return the fact of a line with what it has beside its own fields (`InvalidInput`)."""
    successor = line.get("superseded_by")
    if successor is not None:
        validate.check_id("superseded_by", successor)
    vector = line.get("embedding")
    exported = ExportedFact(
        fact=fact,
        history=[_step(step) for step in _objects(line, "history")],
        sources=[_source(source) for source in _objects(line, "sources")],
        superseded_by=successor,
        embedding=vector,
        embedding_model=line.get("embedding_model") if vector else None,
    )
    if fact is None and not exported.history:
        raise InvalidInput("a deleted fact has no history")
    return exported


def check_exported(exported: ExportedFact) -> None:
    """Accept the fact and what goes with it (`InvalidInput`)."""
    if exported.fact is not None:
        validate.check_fact(exported.fact)
    if exported.embedding is not None:
        validate.check_vector("embedding", exported.embedding)
        validate.check_key("embedding_model", exported.embedding_model)
    if len({step["id"] for step in exported.history}) < len(exported.history):
        raise InvalidInput("two steps of the history have the same id")
    for step in exported.history:
        validate.check_choice("action", step["action"], FACT_ACTIONS)
        validate.check_json_object("before", step["before"])
        if step["actor"] is not None:
            validate.check_text("actor", step["actor"], most=validate.MAX_KEY)
    for source in exported.sources:
        validate.check_text("content", source["content"], most=validate.MAX_SUMMARY)
        validate.check_confidence(source["confidence"])
        for name, most in (("source", validate.MAX_SOURCE), ("source_id", validate.MAX_SUMMARY)):
            if source[name] is not None:
                validate.check_text(name, source[name], most=most)


async def record_exported(
    db: Database, embedder: Embedder | None, exported: ExportedFact, *, namespace: str
) -> int | None:
    """Record a fact with its history and sources and return its id; None if it is there."""
    vector, model = await _vector(embedder, exported)
    async with db.transaction() as conn:
        if exported.fact is None:
            last = exported.history[-1]
            if await store.is_deleted_known(conn, namespace, action=last["action"], at=last["at"]):
                return None
            fact_id = await store.reserve_fact_id(conn)
        else:
            stored = await facts.insert_fact(
                conn, exported.fact, namespace=namespace, vector=vector, embedding_model=model
            )
            if stored is None:
                return None
            fact_id = stored.id
        new = await store.reserve_step_ids(conn, len(exported.history))
        steps = {step["id"]: to for step, to in zip(exported.history, new, strict=True)}
        kept = sum(len(_kept_sources(step)) for step in exported.history)
        source_ids = iter(await store.reserve_source_ids(conn, kept))
        renewed = [
            _renewed(step, steps, fact_id=fact_id, namespace=namespace, source_ids=source_ids)
            for step in exported.history
        ]
        await store.insert_steps(conn, fact_id, namespace, renewed)
        await store.insert_sources(
            conn,
            fact_id,
            namespace,
            [source | {"step": steps.get(source["step"], 0)} for source in exported.sources],
        )
    return fact_id


async def _vector(
    embedder: Embedder | None, exported: ExportedFact
) -> tuple[str | None, str | None]:
    if exported.fact is None:
        return None, None
    if exported.embedding is not None:
        text = "[" + ",".join(repr(float(x)) for x in exported.embedding) + "]"
        return text, exported.embedding_model
    words = f"{exported.fact.concept}: {exported.fact.content}"
    vectors, model = await embed_or_none(embedder, [words])
    return vectors[0], model


def _renewed(
    step: dict[str, Any],
    steps: Mapping[int, int],
    *,
    fact_id: int,
    namespace: str,
    source_ids: Any,
) -> dict[str, Any]:
    """Return a step with the ids of this database; what the row points at is linked later."""
    before = step["before"]
    if before is not None:
        before = before | {"id": fact_id, "namespace": namespace, "superseded_by": None}
        if _kept_sources(step):
            before["sources"] = [
                source
                | {
                    "id": next(source_ids),
                    "fact_id": fact_id,
                    "namespace": namespace,
                    "step": _step_of(source, steps),
                }
                for source in _kept_sources(step)
            ]
    return step | {
        "id": steps[step["id"]],
        "before": before,
        "undoes": steps.get(step["undoes"]) if step["undoes"] is not None else None,
    }


def _step_of(source: Mapping[str, Any], steps: Mapping[int, int]) -> int:
    old = source.get("step")
    return steps.get(old, 0) if isinstance(old, int) else 0


def _kept_sources(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sources that a deleted fact took along."""
    before: dict[str, Any] = step["before"] or {}
    kept: Any = before.get("sources")
    if not isinstance(kept, list):
        return []
    return [cast("dict[str, Any]", s) for s in cast("list[Any]", kept) if isinstance(s, dict)]


def _step(step: dict[str, Any]) -> dict[str, Any]:
    at = read_time(step, "at")
    for name in ("id", "undoes"):
        if step.get(name) is not None:
            validate.check_limit(name, step[name], most=2**63 - 1)
    if at is None or step.get("id") is None:
        raise InvalidInput("a step of history has no id or no time")
    return {
        "id": step["id"],
        "action": step.get("action"),
        "before": step.get("before"),
        "at": _checked(at),
        "actor": step.get("actor"),
        "undoes": step.get("undoes"),
    }


def _source(source: dict[str, Any]) -> dict[str, Any]:
    recorded_at = read_time(source, "recorded_at")
    step = source.get("step", 0)
    if recorded_at is None or not isinstance(step, int):
        raise InvalidInput("a source has no recorded_at, or its step is no number")
    return {
        "source": source.get("source"),
        "source_id": source.get("source_id"),
        "content": source.get("content"),
        "confidence": source.get("confidence"),
        "recorded_at": _checked(recorded_at),
        "step": step,
    }


def _checked(at: datetime) -> datetime:
    validate.check_time("at", at)
    return at


def _objects(line: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value: Any = line.get(name) or []
    if not isinstance(value, list):
        raise InvalidInput(f"{name} is {value!r:.60}; it must be a list of objects")
    found = cast("list[Any]", value)
    if len(found) > MAX_STEPS or not all(isinstance(item, dict) for item in found):
        raise InvalidInput(f"{name} must be a list of up to {MAX_STEPS:,} objects")
    return [cast("dict[str, Any]", item) for item in found]
