"""How wide to search the graph of vectors: measured on the memories that are there.

HNSW finds most of the nearest, not all; the wider it is searched (`hnsw.ef_search`), the more of
them, and the longer it takes. How much depends on the vectors, so that no default is right for
everybody. Questions are made of stored vectors, moved away as far as a question lies from its
answer; what they find is compared with an exact scan. Nothing is written.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aegis.memory.store import search, tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aegis.db import Connection, Database
    from aegis.memory.models import EpisodeFilter
    from aegis.memory.store.search import QuestionFacts, Space

__all__ = ["WIDTHS", "Curve", "Point", "measure"]

#: Widths that are tried; pgvector takes up to 1,000.
WIDTHS = (20, 40, 64, 100, 150, 200, 300, 400)
#: Length of the step from an answer to its question, both of length 1: a cosine of 0.74.
_AWAY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one width gives."""

    ef_search: int
    #: Share of the exact `k` nearest that were found, 0 to 1; mean over the questions.
    recall: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Recall against time on one namespace."""

    namespace: str
    model: str | None
    dimensions: int
    #: Episodes of the namespace.
    episodes: int
    k: int
    #: Questions asked.
    samples: int
    #: Median of the scan that finds all; None where nothing was measured.
    exact_p50_ms: float | None
    #: By rising width; empty where the graph is not used.
    points: Sequence[Point]
    #: Share that is wanted, and the least width that reaches it; None where none does.
    target: float
    advised: int | None
    #: Why nothing was measured; None otherwise.
    reason: str | None = None


async def measure(
    db: Database,
    *,
    where: EpisodeFilter,
    space: Space,
    k: int,
    samples: int,
    target: float,
    seed: int = 1,
    on_progress: Callable[[int, int], object] | None = None,
) -> Curve:
    """Return the curve of a namespace; takes an exact scan for each of `samples` questions.

    Raises:
        Unavailable: the database does not answer, or a scan takes longer than a statement may.
    """
    async with db.transaction() as conn:
        facts = await search.read_question(
            conn, query="", namespace=where.namespace or "", ef_search=WIDTHS[0]
        )
        episodes = await tuning.count_episodes(conn, where.namespace or "")
    curve = Curve(
        namespace=where.namespace or "",
        model=space.model,
        dimensions=space.dimensions,
        episodes=episodes,
        k=k,
        samples=0,
        exact_p50_ms=None,
        points=(),
        target=target,
        advised=None,
        reason=_why_exact(facts),
    )
    if curve.reason is not None:
        return curve
    async with db.transaction() as conn:
        drawn = await tuning.draw_vectors(
            conn, where=where, space=space, count=samples, seed=seed / 1000
        )
    if not drawn:
        return replace(curve, reason="No episode of the namespace has a vector of this model.")
    questions = _moved(drawn, seed)
    steps, total = 0, len(questions) * (1 + len(WIDTHS))

    def step() -> None:
        nonlocal steps
        steps += 1
        if on_progress is not None:
            on_progress(steps, total)

    exact, exact_ms = await _ask(db, questions, where, space, k, None, step)
    points: list[Point] = []
    for width in WIDTHS:
        found, taken = await _ask(db, questions, where, space, k, width, step)
        points.append(_point(width, found, exact, taken))
    return replace(
        curve,
        samples=len(questions),
        exact_p50_ms=statistics.median(exact_ms),
        points=points,
        advised=next((p.ef_search for p in points if p.recall >= target), None),
    )


def _why_exact(facts: QuestionFacts) -> str | None:
    if facts.episodes <= search.SMALL_NAMESPACE:
        return f"Up to {search.SMALL_NAMESPACE:,} episodes are searched exactly: nothing to tune."
    if not facts.iterative:
        return "With pgvector before 0.8 all are searched exactly; update it to 0.8 or later."
    return None


def _point(
    width: int, found: Sequence[set[int]], exact: Sequence[set[int]], taken: Sequence[float]
) -> Point:
    shares = [len(f & e) / max(len(e), 1) for f, e in zip(found, exact, strict=True)]
    return Point(
        ef_search=width,
        recall=statistics.fmean(shares),
        p50_ms=statistics.median(taken),
        p95_ms=sorted(taken)[int(0.95 * (len(taken) - 1))],
    )


async def _ask(
    db: Database,
    questions: Sequence[str],
    where: EpisodeFilter,
    space: Space,
    k: int,
    width: int | None,
    step: Callable[[], object],
) -> tuple[list[set[int]], list[float]]:
    """Return what each question found and the milliseconds it took; `width` None for a scan."""
    found: list[set[int]] = []
    taken: list[float] = []
    for question in questions:
        # A transaction each: a tool that measures must not hold back the clean-up of the table.
        async with db.transaction() as conn:
            await _prepare(conn, where, width)
            started = time.perf_counter()
            rows = await search.find_nearest(
                conn,
                where=where,
                vector=question,
                space=space,
                metric="cosine",
                approximate=width is not None,
                limit=k,
            )
            taken.append((time.perf_counter() - started) * 1000)
        found.append({row_id for row_id, _ in rows})
        step()
    return found, taken


async def _prepare(conn: Connection, where: EpisodeFilter, width: int | None) -> None:
    await search.read_question(
        conn, query="", namespace=where.namespace or "", ef_search=width or WIDTHS[0]
    )


def _moved(vectors: Sequence[Sequence[float]], seed: int) -> list[str]:
    """Return questions near the vectors, in pgvector's text form."""
    answers: NDArray[np.float64] = np.array(vectors, dtype=float)
    answers /= np.maximum(np.linalg.norm(answers, axis=1, keepdims=True), 1e-12)
    noise = np.random.default_rng(seed).standard_normal(answers.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    rows = answers + _AWAY * noise
    return ["[" + ",".join([f"{x:.6g}" for x in row]) + "]" for row in rows]
