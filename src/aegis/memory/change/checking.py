"""Asking both spaces the same questions before a switch.

Questions are half of the words of stored episodes; one is answered where the episode, or another
that says the same, is among the `k` nearest. Namespaces up to `_EXACT` episodes are searched
exactly. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from aegis.errors import AegisError
from aegis.memory.change.comparison import clearly_worse, make_question, overlap, space_recall
from aegis.memory.change.figures import RecallCheck
from aegis.memory.models import EpisodeFilter
from aegis.memory.store import search, spares
from aegis.memory.store.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.active import ActiveEmbedder
    from aegis.memory.store.registry import EmbeddingModel

__all__ = ["check_recall", "count_missing"]

_EXACT = 20_000
_EF_SEARCH = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    id: int
    namespace: str
    said: str
    question: str


async def count_missing(conn: Connection, *, carried: str, wanted: str) -> tuple[int, int]:
    """Return how many rows a change is about, and how many of them lack a vector."""
    rows = missing = 0
    for table in spares.TABLES:
        carrying, have, moved = await spares.count_rows(conn, table, carried=carried, wanted=wanted)
        rows += carrying + moved
        missing += carrying - have
    return rows, missing


async def check_recall(
    db: Database,
    embedder: ActiveEmbedder,
    *,
    source: EmbeddingModel,
    target: EmbeddingModel,
    k: int,
    samples: int,
    seed: int = 1,
    on_progress: Callable[[int, int], object] | None = None,
) -> RecallCheck:
    """Return how both spaces answer, and what speaks against the switch.

    Raises:
        Unavailable: the embedder of the target does not answer.
    """
    async with db.transaction() as conn:
        rows, missing = await count_missing(conn, carried=source.model, wanted=target.model)
        drawn = await spares.sample_texts(
            conn, "episodic_memory", carried=source.model, count=samples, seed=seed / 1000
        )
    rng = Random(seed)  # noqa: S311 (questions, not secrets)
    asked = [
        _Question(id=i, namespace=place, said=text, question=make_question(text, rng))
        for i, place, text in drawn
    ]
    theirs = await _found(db, embedder, target, asked, k, beside=True, step=on_progress)
    try:
        ours = await _found(db, embedder, source, asked, k, beside=False, step=on_progress)
    except AegisError:
        ours = None
    objections: list[str] = []
    if missing:
        objections.append(f"{missing:,} of {rows:,} memories have no vector of {target.model} yet.")
    if theirs is None:
        objections.append(f"This process has no embedder of {target.model} to ask.")
        theirs = [list[tuple[int, str]]() for _ in asked]
    hits = [_hit(q, found) for q, found in zip(asked, theirs, strict=True)]
    if ours is None:
        objections.append(f"{source.model} does not answer, so that nothing can be compared.")
    else:
        before = [_hit(q, found) for q, found in zip(asked, ours, strict=True)]
        if clearly_worse(before, hits):
            objections.append(
                f"{target.model} finds {sum(hits)} of {len(asked)} memories by half of their "
                f"words, {source.model} finds {sum(before)}."
            )
    return RecallCheck(
        k=k,
        samples=len(asked),
        source=None
        if ours is None
        else space_recall(
            source.model, [_hit(q, found) for q, found in zip(asked, ours, strict=True)]
        ),
        target=space_recall(target.model, hits),
        agreement=None
        if ours is None or not asked
        else fmean(
            overlap([i for i, _ in a], [i for i, _ in b]) for a, b in zip(ours, theirs, strict=True)
        ),
        missing=missing,
        objections=objections,
    )


def _hit(question: _Question, found: Sequence[tuple[int, str]]) -> bool:
    return any(i == question.id or said == question.said for i, said in found)


async def _found(
    db: Database,
    embedder: ActiveEmbedder,
    model: EmbeddingModel,
    asked: Sequence[_Question],
    k: int,
    *,
    beside: bool,
    step: Callable[[int, int], object] | None,
) -> list[list[tuple[int, str]]] | None:
    """Return id and text of the `k` nearest of each question; None without an embedder."""
    from aegis.memory.embedding import vector_text

    of_model = embedder.embedder_of(model.model)
    if of_model is None:
        return None
    if not asked:
        return []
    vectors = await of_model.embed([q.question for q in asked])
    space = Space(model=model.model, dimensions=model.dimensions, mixed=beside, beside=beside)
    found: list[list[tuple[int, str]]] = []
    for question, vector in zip(asked, vectors, strict=True):
        async with db.transaction() as conn:
            facts = await search.read_question(
                conn, query="", namespace=question.namespace, ef_search=_EF_SEARCH
            )
            near = await search.find_nearest(
                conn,
                where=EpisodeFilter(namespace=question.namespace),
                vector=vector_text(vector),
                space=space,
                metric="cosine",
                approximate=facts.iterative and facts.episodes > _EXACT,
                limit=k,
            )
            rows = await search.list_by_ids(conn, [i for i, _ in near])
        found.append([(row.id, row.summary) for row in rows])
        if step is not None:
            step(len(found) + (0 if beside else len(asked)), 2 * len(asked))
    return found
